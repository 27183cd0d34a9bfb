-- Every study that an image names is in studies, and belongs to the same patient.
SELECT dataset, image_id, study_id, patient_id
FROM images
WHERE study_id IS NOT NULL
  AND hash(dataset, study_id, patient_id) NOT IN (SELECT hash(dataset, study_id, patient_id) FROM studies)
