"""Debiased Noise Editing: one universal noise that hides an attribute from a frozen backbone (Jin et al., MICCAI 2024)."""
