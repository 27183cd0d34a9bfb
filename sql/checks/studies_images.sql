-- studies.n_images counts the images of the study.
WITH found AS (SELECT hash(dataset, study_id) AS h, count(*) AS n FROM images WHERE study_id IS NOT NULL GROUP BY h)
SELECT s.dataset, s.study_id, s.n_images, f.n AS found
FROM studies AS s LEFT JOIN found AS f ON f.h = hash(s.dataset, s.study_id)
WHERE f.n IS DISTINCT FROM s.n_images
