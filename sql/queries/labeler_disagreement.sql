-- Where two labelers of one dataset contradict each other on the same image, by finding.
-- Of the images that both call positive or negative; uncertain and unmentioned are no contradiction and not counted.
-- A negative by the silence of a closed-world labeler counts as negative.
-- param: dataset default null in datasets.dataset: only this dataset
-- param: finding default null in findings.finding: only this finding
SELECT
  dataset,
  labeler,
  other_labeler,
  finding,
  n_both_positive + n_both_negative + n_positive_negative + n_negative_positive AS n,
  n_both_positive + n_both_negative AS agree,
  n_positive_negative + n_negative_positive AS contradict,
  n_positive_negative AS only_first_positive,
  n_negative_positive AS only_other_positive,
  (n_positive_negative + n_negative_positive) / n AS share_contradict
FROM labeler_pairs
WHERE ($dataset IS NULL OR dataset = $dataset) AND ($finding IS NULL OR finding = $finding)
  AND n_both_positive + n_both_negative + n_positive_negative + n_negative_positive > 0
ORDER BY dataset, labeler, other_labeler, share_contradict DESC, finding
