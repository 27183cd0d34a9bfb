"""The published experiments, each one command: stages that are found again, and analyses that need no torch."""
