-- CheXpert adults with cardiomegaly or healthy, PA views, no support devices among the healthy.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- age_bias_chexpert_published without what distorts it. All images of a patient stay: `cxrdata split --max-images-per-patient 1`
-- takes one by its key. Healthy is the relation `healthy`, and both it and cardiomegaly are read from the labeler that the dataset
-- prefers (CheXpert's own), not from CheXbert. Only train.csv: the radiologists' validation and test sets are for testing.

-- step: images of train.csv; expect: 223,414
SELECT dataset, image_id FROM images WHERE dataset = 'chexpert' AND source_split = 'train'

-- step: PA
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE view = 'PA'

-- step: adult
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE age_group = 'adult'

-- step: cardiomegaly or healthy
SELECT dataset, image_id
FROM previous
JOIN image_labels USING (dataset, image_id)
JOIN healthy USING (dataset, image_id)
WHERE cardiomegaly = 1 OR healthy
