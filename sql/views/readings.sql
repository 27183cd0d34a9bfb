-- One branch of `readings`: the wide table of one dataset's readers, turned long.
SELECT
  '{dataset}' AS dataset,
  long.image_id,
  long.reader_id,
  long.native_label,
  map.finding,
  CASE long.code WHEN 1 THEN 'positive' WHEN 0 THEN 'negative' WHEN -3 THEN 'negative' WHEN -1 THEN 'uncertain' ELSE 'unmentioned' END AS state
FROM (UNPIVOT {table} ON COLUMNS(* EXCLUDE (image_id, reader_id)) INTO NAME native_label VALUE code) AS long
LEFT JOIN (SELECT native_label, finding FROM label_map WHERE dataset = '{dataset}' AND predicate = 'exactMatch') AS map
  ON map.native_label = long.native_label
