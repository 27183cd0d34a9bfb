-- Which statements of race contradict each other within one patient, and what was taken.
-- Race null: no statement has the majority (by the build's rule). Unknown and declined never vote.
SELECT
  dataset,
  array_to_string(race_raw, ' | ') AS statements,
  race AS race_taken,
  count(*) AS patients,
  sum(n_images)::BIGINT AS images
FROM patients
WHERE race_conflict
GROUP BY ALL
ORDER BY dataset, patients DESC, statements, race_taken NULLS LAST
