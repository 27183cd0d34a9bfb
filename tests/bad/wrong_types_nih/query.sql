SELECT image_id, age_years, age_raw, age_flag, study_order, original_columns_px, pixel_spacing_row_mm FROM images ORDER BY image_id
