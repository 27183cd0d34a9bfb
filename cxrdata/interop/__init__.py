"""Layouts of other people's code: what they read and what they write."""
