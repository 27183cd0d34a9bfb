-- One branch of `label_counts`: the wide table of one labeler, counted column by column without turning it long.
SELECT
  '{dataset}' AS dataset,
  '{labeler}' AS labeler,
  counted.native_label,
  map.finding,
  counted.n.positive AS n_positive,
  counted.n.negative AS n_negative,
  counted.n.known - counted.n.positive - counted.n.negative - counted.n.uncertain - counted.n.unmentioned AS n_negative_by_silence,
  counted.n.uncertain AS n_uncertain,
  counted.n.unmentioned AS n_unmentioned,
  '{level}' AS level
FROM (
  UNPIVOT (
    SELECT {{
      positive: count_if(COLUMNS(* EXCLUDE (image_id, closed_world)) = 1)::BIGINT,
      negative: count_if(COLUMNS(* EXCLUDE (image_id, closed_world)) = 0)::BIGINT,
      uncertain: count_if(COLUMNS(* EXCLUDE (image_id, closed_world)) = -1)::BIGINT,
      unmentioned: count_if(COLUMNS(* EXCLUDE (image_id, closed_world)) = -2)::BIGINT,
      known: count(COLUMNS(* EXCLUDE (image_id, closed_world)))
    }} FROM {table}
  ) ON COLUMNS(*) INTO NAME native_label VALUE n
) AS counted
LEFT JOIN (SELECT native_label, finding FROM label_map WHERE dataset = '{dataset}' AND predicate = 'exactMatch') AS map
  ON map.native_label = counted.native_label
