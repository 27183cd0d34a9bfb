-- Every row that the ledger calls rejected stands in rejects. A file that is a row of its own (DICOM) has no line, and
-- the ledger counts it with its folder, as `train/*.dicom`.
WITH found AS (
  SELECT dataset,
    CASE WHEN line IS NULL AND (dataset, source_file) NOT IN (SELECT (dataset, source_file) FROM ledger)
      THEN regexp_replace(source_file, '[^/]*?(\.[^./]*)?$', '*\1') ELSE source_file END AS source_file,
    count(DISTINCT line) + count(*) FILTER (line IS NULL) AS n
  FROM rejects WHERE kind = 'row' GROUP BY ALL
)
SELECT l.dataset, l.source_file, l.rows_rejected, coalesce(f.n, 0) AS found
FROM ledger AS l LEFT JOIN found AS f USING (dataset, source_file)
WHERE l.rows_rejected > coalesce(f.n, 0)
