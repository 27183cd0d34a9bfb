-- image_labels and image_labels_rolled have one row for every image and no other: same number, same keys.
WITH keys AS (
  SELECT 'images' AS relation, dataset, count(*) AS n, bit_xor(hash(image_id)) AS h FROM images GROUP BY ALL
  UNION ALL SELECT 'image_labels', dataset, count(*), bit_xor(hash(image_id)) FROM image_labels GROUP BY ALL
  UNION ALL SELECT 'image_labels_rolled', dataset, count(*), bit_xor(hash(image_id)) FROM image_labels_rolled GROUP BY ALL
)
SELECT dataset, list(relation || ': ' || n ORDER BY relation) AS found
FROM keys GROUP BY dataset HAVING count(DISTINCT (n, h)) > 1 OR count(*) <> 3
