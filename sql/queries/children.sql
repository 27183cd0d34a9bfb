-- Where the children are: images under 18, certain and possible, by dataset and view.
-- Certain: under 18 whatever the precision of the age. Straddling: the precision leaves both sides of 18 open.
-- Possible: straddling, or no age at all.
SELECT
  dataset,
  view,
  count(*) AS n,
  count(*) FILTER (age_group = 'pediatric') AS certain,
  count(*) FILTER (age_group IS NULL AND age_low_years < 18) AS straddling,
  count(*) FILTER (age_low_years IS NULL) AS without_age,
  count(*) FILTER (age_group IS NULL AND (age_low_years IS NULL OR age_low_years < 18)) AS possible
FROM images
GROUP BY dataset, view
ORDER BY dataset, view NULLS LAST
