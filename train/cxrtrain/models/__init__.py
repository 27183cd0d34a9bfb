"""Nets: a backbone and its heads; how they start, what of them stays frozen, and weights from elsewhere."""
