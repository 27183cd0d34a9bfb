-- How much of what is said is uncertain, by dataset, labeler and finding.
-- Share among the images on which the label is mentioned: positive, stated negative or uncertain. A negative that only
-- follows from silence is not mentioned. Labels that are never uncertain are left out.
-- param: dataset default null in datasets.dataset: only this dataset
-- param: labeler default null in labelers.labeler: only this labeler
SELECT
  dataset,
  labeler,
  native_label,
  finding,
  n_positive + n_negative + n_uncertain AS mentioned,
  n_uncertain AS uncertain,
  n_uncertain / (n_positive + n_negative + n_uncertain) AS share_uncertain
FROM label_counts
WHERE n_uncertain > 0 AND ($dataset IS NULL OR dataset = $dataset) AND ($labeler IS NULL OR labeler = $labeler)
ORDER BY dataset, labeler, share_uncertain DESC, native_label
