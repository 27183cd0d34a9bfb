-- VinDr-CXR films with cardiomegaly or healthy, without those known to be of a minor.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- There are no patient ids and no views: the dataset's authors say that all are PA. Two thirds have no usable age and stay: that
-- they are adults is not known. Images whose age is or may be under 18 leave.

-- step: images of VinDr-CXR
SELECT dataset, image_id FROM images WHERE dataset = 'vindr_cxr'

-- step: not known to be under 18
SELECT dataset, image_id FROM previous JOIN images USING (dataset, image_id) WHERE age_low_years >= 18 OR age_low_years IS NULL

-- step: cardiomegaly or healthy
SELECT dataset, image_id
FROM previous
JOIN image_labels USING (dataset, image_id)
JOIN healthy USING (dataset, image_id)
WHERE cardiomegaly = 1 OR healthy
