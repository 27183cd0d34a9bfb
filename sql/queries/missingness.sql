-- What is missing in `images`, by dataset and column.
-- A column that is null throughout is one that the dataset does not give; age_high_years is also null for top-coded ages.
-- param: dataset default null in datasets.dataset: only this dataset
SELECT dataset, column_name, n, n - present AS missing, (n - present) / n AS share_missing
FROM (
  UNPIVOT (
    SELECT dataset, count(*) AS n, count(COLUMNS(* EXCLUDE (dataset, image_uid)))
    FROM images
    WHERE $dataset IS NULL OR dataset = $dataset
    GROUP BY dataset
  ) ON COLUMNS(* EXCLUDE (dataset, n)) INTO NAME column_name VALUE present
)
WHERE present < n
ORDER BY dataset, share_missing DESC, column_name
