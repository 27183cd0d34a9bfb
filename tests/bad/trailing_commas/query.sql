SELECT image_id, sex, pixel_spacing_row_mm FROM images ORDER BY image_id
