-- Every patient that an image names is in patients; datasets with patient ids have one on every image.
SELECT i.dataset, i.image_id, i.patient_id
FROM images AS i JOIN datasets AS d USING (dataset)
WHERE (i.patient_id IS NOT NULL AND hash(i.dataset, i.patient_id) NOT IN (SELECT hash(dataset, patient_id) FROM patients))
  OR (i.patient_id IS NULL AND d.patient_ids)
