SELECT image_id, no_finding, lung_opacity, edema FROM image_labels ORDER BY image_id
