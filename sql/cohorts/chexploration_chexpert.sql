-- The CheXpert cohort of Glocker et al. 2023: White, Asian and Black non-Hispanic patients, frontal AP or PA views.
-- source: Glocker, Jones, Bernhardt, Winzeck: Algorithmic encoding of protected characteristics in chest X-ray disease detection models. eBioMedicine 89:104467, 2023. doi:10.1016/j.ebiom.2023.104467
-- Race and ethnicity are the raw statements of the demographics workbook. Race goes by what the statement contains, so
-- "White, Hispanic" is White here, and leaves by its ethnicity. Patients whose ethnicity is not recorded leave too, even
-- where the race says "White, non-Hispanic": a loss of the published rule, kept to match it.
-- Published at the end: White 99,027, Asian 18,830, Black 9,261 images; 76,205, 12,673 and 38,240 in training,
-- validation and test (patients parted 0.6, 0.1, 0.3).

-- step: images of train.csv; expect: 223,414
SELECT dataset, image_id FROM images WHERE dataset = 'chexpert' AND source_split = 'train'

-- step: patient with a stated race; expect: 221,006
SELECT p.dataset, p.image_id
FROM previous AS p
JOIN images USING (dataset, image_id)
JOIN patients AS w USING (dataset, patient_id)
WHERE len(w.race_raw) > 0

-- step: White, Asian or Black; expect: 160,724
SELECT p.dataset, p.image_id
FROM previous AS p
JOIN images USING (dataset, image_id)
JOIN patients AS w USING (dataset, patient_id)
WHERE regexp_matches(array_to_string(w.race_raw, '|'), 'White|Asian|Black')

-- step: non-Hispanic; expect: 149,283
SELECT p.dataset, p.image_id
FROM previous AS p
JOIN images USING (dataset, image_id)
JOIN patients AS w USING (dataset, patient_id)
WHERE list_has_any(w.ethnicity_raw, ['Non-Hispanic/Non-Latino', 'Not Hispanic'])

-- step: frontal; expect: 127,130
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE frontal

-- step: AP or PA; expect: 127,118
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE view IN ('AP', 'PA')
