SELECT study_id, view, no_finding FROM images JOIN image_labels USING (dataset, image_id) ORDER BY image_id
