"""The review: which public medical imaging datasets exist, and how old their patients are."""
