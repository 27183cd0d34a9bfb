SELECT image_id, sex, age_years, view, edema, lung_opacity, fracture, support_devices, no_finding FROM images JOIN image_labels USING (dataset, image_id) ORDER BY image_id
