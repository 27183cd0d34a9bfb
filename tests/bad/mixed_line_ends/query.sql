SELECT image_id, patient_id, source_row, pixel_spacing_row_mm FROM images ORDER BY image_id
