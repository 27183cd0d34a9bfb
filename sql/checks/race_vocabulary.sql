-- Race and ethnicity are values of the map, Hispanic goes before race, and a missing race has a reason.
SELECT dataset, patient_id, race, ethnicity, race_ethnicity, race_missing_reason
FROM patients
WHERE (race IS NOT NULL AND race NOT IN (SELECT race FROM race_map WHERE race IS NOT NULL))
  OR (ethnicity IS NOT NULL AND ethnicity NOT IN (SELECT ethnicity FROM race_map WHERE ethnicity IS NOT NULL))
  OR race_ethnicity IS DISTINCT FROM CASE WHEN ethnicity = 'Hispanic' THEN 'Hispanic' ELSE race END
  OR (race IS NULL) <> (race_missing_reason IS NOT NULL)
