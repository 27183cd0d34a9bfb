"""VinDr-CXR (PhysioNet, and the Kaggle competition made from it)."""
