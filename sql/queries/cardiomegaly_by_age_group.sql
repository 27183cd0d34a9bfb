-- How often cardiomegaly is reported, by dataset and age group, with what no group can hold.
-- An age whose precision straddles a bound belongs to no group: those images stand in rows of their own (reason), as do
-- images without an age. Assessed: 1, 0 or -1 in image_labels; the share is positive / assessed, in images.
-- param: scheme default case_study in age_groups.scheme: scheme of age_groups
WITH ranges AS (
  SELECT dataset, age_low_years AS low, age_high_years AS high, count(*) AS n, 0 AS assessed, 0 AS positive
  FROM images
  GROUP BY ALL
  UNION ALL
  SELECT i.dataset, i.age_low_years, i.age_high_years, 0, count(*), count(*) FILTER (l.cardiomegaly = 1)
  FROM images AS i JOIN (SELECT dataset, image_id, cardiomegaly FROM image_labels WHERE cardiomegaly IS NOT NULL) AS l USING (dataset, image_id)
  GROUP BY ALL
)
SELECT
  r.dataset,
  g.group_order,
  g.age_group,
  CASE WHEN g.age_group IS NOT NULL THEN NULL WHEN r.low IS NULL THEN 'no age' ELSE 'straddles a bound' END AS reason,
  sum(r.n)::BIGINT AS n,
  sum(r.assessed)::BIGINT AS assessed,
  sum(r.positive)::BIGINT AS positive,
  sum(r.positive) / nullif(sum(r.assessed), 0) AS share_positive
FROM ranges AS r
LEFT JOIN age_groups AS g
  ON g.scheme = $scheme AND r.low >= g.low_years AND (g.high_years IS NULL OR r.high <= g.high_years)
GROUP BY ALL
ORDER BY r.dataset, g.group_order NULLS LAST, reason
