"""The pixels: where image files are, what is in them, and the store that training reads."""
