-- Every image belongs to a dataset that the catalog describes as built.
SELECT DISTINCT i.dataset FROM images AS i LEFT JOIN datasets AS d USING (dataset) WHERE d.dataset IS NULL OR NOT d.in_build
