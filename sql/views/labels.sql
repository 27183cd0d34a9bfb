-- One branch of `labels`: the wide table of one labeler, turned long. Codes as in metadata/label_states.tsv.
SELECT
  '{dataset}' AS dataset,
  long.image_id,
  '{labeler}' AS labeler,
  long.native_label,
  map.finding,
  CASE long.code WHEN 1 THEN 'positive' WHEN 0 THEN 'negative' WHEN -3 THEN 'negative' WHEN -1 THEN 'uncertain' ELSE 'unmentioned' END AS state,
  long.code <> -3 AS stated,
  '{level}' AS level
FROM (UNPIVOT {table} ON COLUMNS(* EXCLUDE (image_id, closed_world)) INTO NAME native_label VALUE code) AS long
LEFT JOIN (SELECT native_label, finding FROM label_map WHERE dataset = '{dataset}' AND predicate = 'exactMatch') AS map
  ON map.native_label = long.native_label
