-- What the build refused, counted by file, code and column, each with an example.
-- kind row: the row is not in the catalog. kind value: the row is, with this value nulled.
SELECT
  dataset,
  source_file,
  kind,
  code,
  column_name,
  count(*) AS n,
  min(line) AS first_line,
  arg_min(value, line) AS example,
  arg_min(message, line) AS message
FROM rejects
GROUP BY dataset, source_file, kind, code, column_name
ORDER BY dataset, source_file, kind, code, column_name NULLS FIRST
