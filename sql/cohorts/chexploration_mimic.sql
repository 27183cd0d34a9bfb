-- The MIMIC-CXR cohort of Glocker et al. 2023: patients who are White, Asian or Black in all their admissions, AP or PA views.
-- source: Glocker, Jones, Bernhardt, Winzeck: Algorithmic encoding of protected characteristics in chest X-ray disease detection models. eBioMedicine 89:104467, 2023. doi:10.1016/j.ebiom.2023.104467
-- The statement of race is compared as MIMIC-IV up to 1.0 wrote it (column ethnicity). From MIMIC-IV 2.0 on the column race
-- is finer: "WHITE - RUSSIAN" and the like are none of the three, and patients with two fine values are inconsistent, so
-- fewer are left than were published.
-- Published: 183,207 images of 43,209 patients; 110,280, 17,665 and 55,262 images in training, validation and test
-- (patients parted 0.6, 0.1, 0.3).

-- step: images of MIMIC-CXR
SELECT dataset, image_id FROM images WHERE dataset = 'mimic_cxr'

-- step: study labelled by the CheXpert labeler
SELECT dataset, image_id FROM previous SEMI JOIN (SELECT * FROM assessments WHERE labeler = 'chexpert') USING (dataset, image_id)

-- step: patient in MIMIC-IV, with an admission
SELECT p.dataset, p.image_id
FROM previous AS p
JOIN images USING (dataset, image_id)
JOIN patients AS w USING (dataset, patient_id)
WHERE len(w.race_raw) > 0 AND w.sex IS NOT NULL

-- step: same race in all admissions
SELECT p.dataset, p.image_id
FROM previous AS p
JOIN images USING (dataset, image_id)
JOIN patients AS w USING (dataset, patient_id)
WHERE len(w.race_raw) = 1

-- step: White, Asian or Black
SELECT p.dataset, p.image_id
FROM previous AS p
JOIN images USING (dataset, image_id)
JOIN patients AS w USING (dataset, patient_id)
WHERE w.race_raw[1] IN ('ASIAN', 'BLACK/AFRICAN AMERICAN', 'WHITE')

-- step: AP or PA; expect: 183,207
SELECT dataset, image_id
FROM previous
JOIN images USING (dataset, image_id)
WHERE view_source = 'ViewPosition' AND view_raw IN ('AP', 'PA')
