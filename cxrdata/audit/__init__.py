"""How a model treats each group: operating points, metrics by group, intervals, tests."""
