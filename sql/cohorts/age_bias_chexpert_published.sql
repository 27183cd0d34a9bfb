-- CheXpert patients with cardiomegaly or no finding by CheXbert, PA, as Hua et al. 2025 chose them: one image a patient.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- The labels are those of train_cheXbert.csv. No finding allows support devices: nearly a fifth of these healthy films has one.
-- An age of 0 is a placeholder and leaves; everyone else is an adult. An uncertain cardiomegaly leaves.
-- One image of each patient is drawn before others leave by label or age: of its images with a known age,
-- if there are any, and of those the ones with cardiomegaly, if there are any. The place drawn depends on nothing but how many
-- images there are: the list in that step, of numpy's RandomState(42) seeded anew each time. That preference, the seed and the
-- fixed place are reported; the order of the steps, the file's order and numpy are inferred from NIH (age_bias_nih_published) and
-- unchecked here.
-- Published test set, a tenth of the healthy adults: 405 images; not compared, for want of the real file. That their code turns
-- blank labels into positive ones when it casts them is taken to concern the labels it trains on, not who is in: 405 healthy are
-- too few for blanks of No Finding to have counted.

-- step: images labelled by CheXbert
SELECT dataset, image_id
FROM images
SEMI JOIN (SELECT * FROM assessments WHERE dataset = 'chexpert' AND labeler = 'chexbert') USING (dataset, image_id)

-- step: PA
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE view = 'PA'

-- step: age not 0
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE age_flag <> 'placeholder'

-- step: cardiomegaly not uncertain
SELECT dataset, image_id
FROM previous
ANTI JOIN (
  SELECT * FROM labels WHERE labeler = 'chexbert' AND finding = 'cardiomegaly' AND state = 'uncertain'
) USING (dataset, image_id)

-- step: one image a patient
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
      patient_id AS unit,
      source_row,
      age_years IS NOT NULL AS has_age,
      coalesce(state = 'positive', false) AS enlarged
    FROM previous AS p
    JOIN images USING (dataset, image_id)
    LEFT JOIN (
      SELECT dataset, image_id, state FROM labels WHERE labeler = 'chexbert' AND finding = 'cardiomegaly'
    ) USING (dataset, image_id)
  )
)
-- The place drawn among 1, 2, 3, … rows, counted from 0.
WHERE preference = 1 AND place = 1 + coalesce([
    0, 1, 0, 1, 1, 0, 0, 1, 7, 8, 5, 10, 11, 9, 9, 0, 0, 0, 0, 0, 0, 0, 15, 8, 8, 8, 8, 9, 27, 27, 27, 29, 31, 15, 26,
    35, 17, 33, 33, 19, 24, 25, 37, 37, 39, 39, 27, 27, 13, 13, 43, 19, 19, 19, 31, 0, 0, 0, 0, 0, 0, 50, 61, 52, 53,
    54, 36, 46, 22, 22, 22, 4, 4, 4, 4, 4, 4, 33, 30, 30, 30, 30, 30, 73, 78, 75, 76, 76, 44, 40, 40, 40
  ][n], 0)

-- step: cardiomegaly or no finding
SELECT dataset, image_id
FROM previous
SEMI JOIN (
  SELECT * FROM labels WHERE labeler = 'chexbert' AND finding IN ('cardiomegaly', 'no_finding') AND state = 'positive'
) USING (dataset, image_id)
