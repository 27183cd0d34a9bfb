-- PadChest adults with cardiomegaly or labelled normal, PA, as Hua et al. 2025 chose them: one image a study, taken for a patient.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- Their patient id is PadChest's StudyID: a patient with several studies stays with several images, and their split puts
-- such patients into training and test. A split of cxrdata keeps patients apart by the true id, whatever this cohort does.
-- Images without an age stay, children among them perhaps.
-- One image of each study is drawn before others leave by label or age: of its images with a known age,
-- if there are any, and of those the ones with cardiomegaly, if there are any. The place drawn depends on nothing but how many
-- images there are: the list in that step, of numpy's RandomState(42) seeded anew each time. That preference, the seed and the
-- fixed place are reported; the order of the steps, the file's order and numpy are inferred from NIH (age_bias_nih_published) and
-- unchecked here.
-- Published test set, a tenth of the healthy adults: 2,390 images; not compared, for want of the real file.

-- step: images of PadChest
SELECT dataset, image_id FROM images WHERE dataset = 'padchest'

-- step: PA
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE view = 'PA'

-- step: one image a study
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
      study_id AS unit,
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
    35, 17, 33, 33, 19
  ][n], 0)

-- step: cardiomegaly or normal
SELECT dataset, image_id FROM previous JOIN image_labels USING (dataset, image_id) WHERE cardiomegaly = 1 OR no_finding = 1

-- step: not known to be under 18
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE age_years >= 18 OR age_years IS NULL
