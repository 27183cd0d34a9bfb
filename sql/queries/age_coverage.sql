-- How far ages are known, by dataset: flags, range, and children that are certain whatever the precision.
-- Ages are at the study. Flagged ages (placeholder, implausible, missing) have no value and enter no statistic.
SELECT
  dataset,
  count(*) AS n,
  count(age_years) AS known,
  round(count(age_years) / count(*), 4) AS share_known,
  count(*) FILTER (age_flag = 'ok') AS ok,
  count(*) FILTER (age_flag = 'top_coded') AS top_coded,
  count(*) FILTER (age_flag = 'placeholder') AS placeholder,
  count(*) FILTER (age_flag = 'implausible') AS implausible,
  count(*) FILTER (age_flag = 'missing') AS missing,
  min(age_years) AS age_min,
  median(age_years) AS age_median,
  max(age_years) AS age_max,
  count(*) FILTER (age_group = 'pediatric') AS children_certain
FROM images
GROUP BY dataset
ORDER BY dataset
