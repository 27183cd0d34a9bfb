SELECT image_id, age_years, view, original_rows_px FROM images ORDER BY image_id
