SELECT source_file, rows_read, rows_kept, rows_merged, rows_unmatched, rows_rejected FROM ledger ORDER BY source_file
