-- The datasets of this build at a glance: images, patients, children, sexes, views, what is known.
-- Children: certainly under 18. Shares of known age and race are of images. Synthetic data look like this too: see `synthetic`.
SELECT
  i.dataset,
  any_value(d.title) AS title,
  any_value(d.synthetic) AS synthetic,
  count(*) AS images,
  any_value(p.patients) AS patients,
  any_value(s.studies) AS studies,
  count(*) FILTER (i.age_group = 'pediatric') AS images_of_children,
  count(*) FILTER (i.age_group = 'adult') AS images_of_adults,
  count(*) FILTER (i.sex = 'F') AS images_female,
  count(*) FILTER (i.sex = 'M') AS images_male,
  count(*) FILTER (i.view = 'PA') AS images_pa,
  count(*) FILTER (i.view = 'AP') AS images_ap,
  count(*) FILTER (i.view = 'LATERAL') AS images_lateral,
  round(count(i.age_years) / count(*), 4) AS share_age_known,
  round(count(i.race) / count(*), 4) AS share_race_known,
  any_value(b.boxes) AS boxes
FROM images AS i
JOIN datasets AS d USING (dataset)
LEFT JOIN (SELECT dataset, count(*) AS patients FROM patients GROUP BY dataset) AS p USING (dataset)
LEFT JOIN (SELECT dataset, count(*) AS studies FROM studies GROUP BY dataset) AS s USING (dataset)
LEFT JOIN (SELECT dataset, count(*) AS boxes FROM boxes GROUP BY dataset) AS b USING (dataset)
GROUP BY i.dataset
ORDER BY i.dataset
