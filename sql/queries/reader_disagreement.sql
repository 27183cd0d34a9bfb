-- Where the readers of one image differ, by label: share of the images that at least two readers assessed.
-- Only datasets that publish single readings (VinDr-CXR). Differ: not all states the same.
WITH per_image AS (
  SELECT
    dataset,
    native_label,
    any_value(finding) AS finding,
    count(*) AS readers,
    bool_or(state = 'positive') AS any_positive,
    bool_or(state = 'positive')::TINYINT + bool_or(state = 'negative')::TINYINT + bool_or(state = 'uncertain')::TINYINT
      + bool_or(state = 'unmentioned')::TINYINT > 1 AS differ
  FROM readings
  GROUP BY dataset, native_label, image_id
)
SELECT
  dataset,
  native_label,
  finding,
  count(*) AS images,
  count(*) FILTER (any_positive) AS any_positive,
  count(*) FILTER (differ) AS differ,
  count(*) FILTER (differ) / count(*) AS share_differ,
  count(*) FILTER (differ) / nullif(count(*) FILTER (any_positive), 0) AS share_of_positive_differ
FROM per_image
WHERE readers >= 2
GROUP BY ALL
ORDER BY dataset, share_differ DESC, native_label
