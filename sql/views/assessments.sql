-- One branch of `assessments`: the images that one labeler assessed.
SELECT '{dataset}' AS dataset, image_id, '{labeler}' AS labeler, closed_world FROM {table}
