"""MIMIC-CXR-JPG with the demographics of MIMIC-IV."""
