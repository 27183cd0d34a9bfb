SELECT patient_id, race, ethnicity, race_missing_reason FROM patients ORDER BY patient_id
