-- One branch of `healthy`: the rule of metadata/healthy.toml for one dataset; null where no one assessed the image.
SELECT dataset, image_id, CASE WHEN labeler IS NOT NULL THEN {rule} END AS healthy
FROM image_labels_rolled
WHERE dataset = '{dataset}'
