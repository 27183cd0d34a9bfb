-- Healthy children in NIH, PadChest and VinDr-PCXR: certainly under 18, PA where the view is known.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- age_bias_children_published without what distorts it. VinDr-PCXR does not tell its views and stays as it is, at all ages under
-- 18. All images of a patient stay: `cxrdata split --max-images-per-patient 1` takes one by its key. Healthy is the relation
-- `healthy`. VinDr-CXR's few minors are not among them.

-- step: images of NIH, PadChest, VinDr-PCXR
SELECT dataset, image_id FROM images WHERE dataset IN ('nih_cxr14', 'padchest', 'vindr_pcxr')

-- step: PA, or VinDr-PCXR with unknown view
SELECT dataset, image_id
FROM previous
JOIN images USING (dataset, image_id)
WHERE view = 'PA' OR (view IS NULL AND dataset = 'vindr_pcxr')

-- step: certainly under 18
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE age_group = 'pediatric'

-- step: healthy
SELECT dataset, image_id FROM previous JOIN healthy USING (dataset, image_id) WHERE healthy
