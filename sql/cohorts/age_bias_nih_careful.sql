-- NIH adults with cardiomegaly or no finding, PA views only: age_bias_nih_published without what distorts it.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- AP views leave, as in the other datasets. All images of a patient stay: `cxrdata split --max-images-per-patient 1` takes one
-- by its key, and keeps patients apart. Healthy is the relation `healthy`; NIH does not assess support devices.

-- step: images of NIH ChestX-ray14; expect: 112,120
SELECT dataset, image_id FROM images WHERE dataset = 'nih_cxr14'

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
