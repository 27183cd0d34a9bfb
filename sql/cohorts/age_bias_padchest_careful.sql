-- PadChest adults with cardiomegaly or healthy, PA views: age_bias_padchest_published without what distorts it.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- Nothing is chosen by StudyID: all images of a patient stay, `cxrdata split --max-images-per-patient 1` takes one by its key,
-- and patients are parted by PatientID. Adults are those certain to be: no age, or a year of birth that leaves both sides of 18
-- open, leaves. Healthy is the relation `healthy`: normal, without devices and without a finding beside it.

-- step: images of PadChest
SELECT dataset, image_id FROM images WHERE dataset = 'padchest'

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
