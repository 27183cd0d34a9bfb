-- An age lies within its own range, is null when flagged unusable, and the group follows from the range.
SELECT dataset, image_id, age_years, age_low_years, age_high_years, age_flag, age_group
FROM images
WHERE (age_flag IN ('placeholder', 'implausible', 'missing')) <> (age_years IS NULL)
  OR (age_flag = 'ok' AND (age_years < age_low_years OR age_years > age_high_years))
  OR (age_group = 'pediatric' AND (age_high_years IS NULL OR age_high_years > 18))
  OR (age_group = 'adult' AND age_low_years < 18)
  OR (age_group IS NULL AND age_group_reason IS NULL)
