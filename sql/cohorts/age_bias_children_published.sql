-- Children without a finding in NIH, PadChest and VinDr-PCXR, as Hua et al. 2025 chose them to test models of adults.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- VinDr-PCXR only up to 10 years, without views or patient ids: 5,816 images, as published. NIH in any view, one image a patient;
-- PadChest PA, one image a study, which was taken for a patient.
-- One image of each patient or study is drawn before others leave by label or age: of its images with a known age,
-- if there are any, and of those the ones with cardiomegaly, if there are any. The place drawn depends on nothing but how many
-- images there are: the list in that step, of numpy's RandomState(42) seeded anew each time. That preference, the seed and the
-- fixed place are reported; the order of the steps, the file's order and numpy are inferred from NIH (age_bias_nih_published) and
-- unchecked here.

-- step: images of NIH, PadChest, VinDr-PCXR
SELECT dataset, image_id FROM images WHERE dataset IN ('nih_cxr14', 'padchest', 'vindr_pcxr')

-- step: PA in PadChest
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE dataset <> 'padchest' OR view = 'PA'

-- step: one image a patient or study
SELECT dataset, image_id
FROM (
  SELECT
    dataset,
    image_id,
    rank() OVER (PARTITION BY dataset, unit ORDER BY has_age DESC, enlarged DESC) AS preference,
    row_number() OVER (PARTITION BY dataset, unit, has_age, enlarged ORDER BY source_row) AS place,
    count(*) OVER (PARTITION BY dataset, unit, has_age, enlarged) AS n
  FROM (
    SELECT
      p.*,
      CASE dataset WHEN 'nih_cxr14' THEN patient_id WHEN 'padchest' THEN study_id ELSE image_id END AS unit,
      source_row,
      age_years IS NOT NULL AS has_age,
      coalesce(cardiomegaly = 1, false) AS enlarged
    FROM previous AS p
    JOIN images USING (dataset, image_id)
    JOIN image_labels USING (dataset, image_id)
  )
)
-- The place drawn among 1, 2, 3, … rows, counted from 0.
WHERE preference = 1 AND place = 1 + coalesce([
    0, 1, 0, 1, 1, 0, 0, 1, 7, 8, 5, 10, 11, 9, 9, 0, 0, 0, 0, 0, 0, 0, 15, 8, 8, 8, 8, 9, 27, 27, 27, 29, 31, 15, 26,
    35, 17, 33, 33, 19, 24, 25, 37, 37, 39, 39, 27, 27, 13, 13, 43, 19, 19, 19, 31, 0, 0, 0, 0, 0, 0, 50, 61, 52, 53,
    54, 36, 46, 22, 22, 22, 4, 4, 4, 4, 4, 4, 33, 30, 30, 30, 30, 30, 73, 78, 75, 76, 76, 44, 40, 40, 40, 40, 40, 68,
    80, 62, 62, 62, 83, 84, 30, 30, 30, 30, 100, 76, 77, 78, 78, 78, 40, 80, 80, 81, 83, 44, 56, 56, 44, 44, 18, 18,
    18, 18, 73, 26, 55, 55, 55, 55, 56, 51, 127, 98, 73, 105, 89, 135, 108, 68, 131, 117, 117, 69, 45, 125, 125, 73,
    73, 76, 68, 84, 15, 81, 96, 126, 128, 78, 105, 105, 158, 135, 135, 135, 100, 101, 137, 138, 139, 101, 76, 162,
    155, 156, 19, 19, 19, 78, 19, 19, 19, 19, 19
  ][n], 0)

-- step: no finding
SELECT dataset, image_id FROM previous JOIN image_labels USING (dataset, image_id) WHERE no_finding = 1

-- step: under 18, in VinDr-PCXR at most 10 years
SELECT dataset, image_id
FROM previous
JOIN images USING (dataset, image_id)
WHERE CASE dataset WHEN 'vindr_pcxr' THEN age_years <= 10 ELSE age_years < 18 END
