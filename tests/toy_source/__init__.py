"""A seventh dataset, made up: the smallest source that has patients, labels, a split and records of race."""
