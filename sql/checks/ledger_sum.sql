-- Every row that was read was kept, merged, unmatched or rejected.
SELECT * FROM ledger WHERE rows_read <> rows_kept + rows_merged + rows_unmatched + rows_rejected
