"""VinDr-PCXR, the paediatric VinDr data set (PhysioNet)."""
