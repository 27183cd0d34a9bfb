"""Sources: a folder a dataset, the only place that knows that dataset's format."""
