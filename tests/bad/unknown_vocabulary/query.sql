SELECT image_id, view, view_raw, sex, sex_raw, cardiomegaly FROM images JOIN image_labels USING (dataset, image_id) ORDER BY image_id
