"""What a model's features know of patients: projections, marginals by group, and tests of whether they differ."""
