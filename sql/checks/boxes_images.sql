-- Every box is on an image of the catalog, has an area, and lies inside the frame where that is known.
SELECT b.dataset, b.image_id, b.native_label, b.x_min, b.y_min, b.x_max, b.y_max
FROM boxes AS b LEFT JOIN images AS i USING (dataset, image_id)
WHERE i.image_id IS NULL OR b.x_min < 0 OR b.y_min < 0 OR b.x_max <= b.x_min OR b.y_max <= b.y_min
  OR b.x_max > i.columns_px OR b.y_max > i.rows_px
