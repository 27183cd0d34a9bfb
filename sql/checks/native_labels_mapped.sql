-- Every native label stands in the crosswalk, if only as unmapped.
SELECT c.table_name, c.column_name
FROM duckdb_columns() AS c
JOIN datasets AS d ON starts_with(c.table_name, 'states_' || d.dataset || '_')
WHERE c.column_name NOT IN ('image_id', 'closed_world')
  AND NOT EXISTS (SELECT 1 FROM label_map AS m WHERE m.dataset = d.dataset AND m.native_label = c.column_name)
