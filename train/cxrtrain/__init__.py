"""Training on the catalog (torch): a package of its own, filled by *Training*. cxrdata never imports it."""
