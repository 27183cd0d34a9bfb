-- Every assessed image is in images.
SELECT a.dataset, a.image_id, a.labeler
FROM assessments AS a
WHERE hash(a.dataset, a.image_id) NOT IN (SELECT hash(dataset, image_id) FROM images)
