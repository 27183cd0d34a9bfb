-- One branch of `labeler_pairs`: two labelers of one dataset, joined on the image, each common finding counted.
SELECT
  '{dataset}' AS dataset,
  '{labeler}' AS labeler,
  '{other_labeler}' AS other_labeler,
  unnest([{findings}]) AS finding,
  unnest(both_positive) AS n_both_positive,
  unnest(both_negative) AS n_both_negative,
  unnest(positive_negative) AS n_positive_negative,
  unnest(negative_positive) AS n_negative_positive
FROM (
  SELECT
    [{both_positive}] AS both_positive,
    [{both_negative}] AS both_negative,
    [{positive_negative}] AS positive_negative,
    [{negative_positive}] AS negative_positive
  FROM {table} AS a JOIN {other_table} AS b USING (image_id)
)
