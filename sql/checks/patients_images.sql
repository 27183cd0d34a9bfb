-- patients.n_images counts the images of the patient.
WITH found AS (SELECT hash(dataset, patient_id) AS h, count(*) AS n FROM images WHERE patient_id IS NOT NULL GROUP BY h)
SELECT p.dataset, p.patient_id, p.n_images, f.n AS found
FROM patients AS p LEFT JOIN found AS f ON f.h = hash(p.dataset, p.patient_id)
WHERE f.n IS DISTINCT FROM p.n_images
