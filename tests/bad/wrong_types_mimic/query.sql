SELECT study_id, view, rows_px, study_date FROM images ORDER BY image_id
