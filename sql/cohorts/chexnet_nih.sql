-- All of NIH ChestX-ray14 with its 14 text-mined labels: what CheXNet and its reproduction train and test on.
-- source: Zech: reproduce-chexnet, 2018, after Rajpurkar et al.: CheXNet: radiologist-level pneumonia detection on chest X-rays with deep learning, 2017. doi:10.48550/arXiv.1711.05225
-- Patients were parted about 0.7, 0.1, 0.2. The reproduction's test set is known from its predictions: 22,433 images of
-- 6,187 patients. `cxrdata split --cohort chexnet_nih --from-file preds.csv.gz --listed test`
-- takes it from there.

-- step: images of NIH ChestX-ray14; expect: 112,120
SELECT dataset, image_id FROM images WHERE dataset = 'nih_cxr14'

-- step: with text-mined labels; expect: 112,120
SELECT dataset, image_id FROM previous SEMI JOIN (SELECT * FROM assessments WHERE labeler = 'text_mining') USING (dataset, image_id)
