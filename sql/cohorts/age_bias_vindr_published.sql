-- VinDr-CXR films with cardiomegaly or no finding by the majority of readers, as Hua et al. 2025 chose them.
-- source: Hua, Heller, He, Towbin, Chen, Lu, Erdman: Lack of children in public medical imaging data points to growing age bias in biomedical AI. medRxiv 2025.06.06.25328913. doi:10.1101/2025.06.06.25328913
-- There are no patient ids, so each image counts as a patient, and no views: the dataset's authors say that all are PA. Two thirds
-- have no usable age. Ages under 18 were nulled rather than left out, so minors are trained on as adults: they stay here.
-- Published test set, a fifth of the healthy in each adult age bin: 266 images.

-- step: images of VinDr-CXR
SELECT dataset, image_id FROM images WHERE dataset = 'vindr_cxr'

-- step: cardiomegaly or no finding
SELECT dataset, image_id FROM previous JOIN image_labels USING (dataset, image_id) WHERE cardiomegaly = 1 OR no_finding = 1
