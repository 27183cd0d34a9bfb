-- Every labeler is in the table labelers.
SELECT DISTINCT a.dataset, a.labeler FROM assessments AS a ANTI JOIN labelers AS l USING (labeler)
