-- The images from which sets of CheXpert balanced over race are drawn: as chexploration_chexpert, without its rule on AP and PA.
-- source: Gichoya et al.: AI recognition of patient race in medical imaging: a modelling study. The Lancet Digital Health 4(6):e406-e414, 2022. doi:10.1016/S2589-7500(22)00063-2
-- The sets themselves are splits of it: at most K images a patient, every race cut to the smallest, patients parted 0.8, 0.1,
-- 0.1 inside each race. Published were 8,712, 13,107 and 16,002 images for K = 1, 2, 3, with the first K images of a patient
-- in the order of the file, and equal races in the whole but not in each part. Here, for K = 1:
--   cxrdata split --cohort race_balanced_chexpert --balance race --max-images-per-patient 1 --ratios 0.8,0.1,0.1
-- The counts expected below are those of Glocker et al. 2023, whose steps these are.

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
