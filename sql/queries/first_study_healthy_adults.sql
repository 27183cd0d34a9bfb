-- Image keys of the first study of each healthy adult: one study a patient, healthy by the dataset's rule.
-- First is the patient's first study in the catalog, healthy or not: who turns healthy later is left out. All images of
-- that study must be healthy and certainly adult. Left out: patients of several studies whose order is not known.
-- Where a dataset tells no patients apart, every image stands for a patient.
-- param: dataset default null in datasets.dataset: only this dataset
WITH firsts AS (
  SELECT dataset, first_study.study_id AS study_id, first_study.n_images AS n_images
  FROM (
    SELECT
      dataset,
      arg_min({study_id: study_id, n_images: n_images}, coalesce(study_order, 1)) AS first_study,
      count(*) = 1 OR count(*) = count(study_order) AS is_ordered
    FROM studies
    WHERE $dataset IS NULL OR dataset = $dataset
    GROUP BY dataset, patient_id
  )
  WHERE is_ordered
)
SELECT i.dataset, i.image_id, i.patient_id, i.study_id
FROM images AS i
SEMI JOIN (SELECT dataset, image_id FROM healthy WHERE healthy AND ($dataset IS NULL OR dataset = $dataset)) AS h USING (dataset, image_id)
LEFT JOIN firsts AS f USING (dataset, study_id)
WHERE i.age_group = 'adult'
  AND (f.n_images IS NOT NULL OR i.patient_id IS NULL)
QUALIFY i.patient_id IS NULL OR count(*) OVER (PARTITION BY i.dataset, i.study_id) = f.n_images
ORDER BY i.dataset, i.patient_id, i.image_id
