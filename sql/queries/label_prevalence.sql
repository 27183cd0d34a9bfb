-- How often a finding is reported, by dataset, race and sex, counted in patients.
-- Share of patients with at least one positive image among those with at least one assessed image (1, 0 or -1 in
-- image_labels). A labeler of reports that does not mention the finding has not assessed it in this sense.
-- Where a dataset tells no patients apart, the image stands for the patient.
-- param: finding default cardiomegaly in findings.finding: column of image_labels
-- param: dataset default null in datasets.dataset: only this dataset
WITH assessed AS (
  SELECT dataset, image_id, COLUMNS('^' || $finding || '$') AS code FROM image_labels WHERE $dataset IS NULL OR dataset = $dataset
),
people AS (
  SELECT
    i.dataset,
    coalesce(i.patient_id, i.image_id) AS person,
    min(i.race_ethnicity) AS race_ethnicity,
    CASE WHEN min(i.sex) = max(i.sex) THEN min(i.sex) END AS sex,
    max(a.code) AS most
  FROM images AS i
  JOIN (SELECT dataset, image_id, code FROM assessed WHERE code IS NOT NULL) AS a USING (dataset, image_id)
  GROUP BY ALL
)
SELECT
  dataset,
  race_ethnicity,
  sex,
  count(*) AS patients_assessed,
  count(*) FILTER (most = 1) AS patients_positive,
  count(*) FILTER (most = 1) / count(*) AS share_positive
FROM people
GROUP BY dataset, race_ethnicity, sex
ORDER BY dataset, race_ethnicity NULLS LAST, sex NULLS LAST
