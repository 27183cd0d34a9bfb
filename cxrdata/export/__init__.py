"""A catalog in the forms that others read: Croissant, a data dictionary, Parquet in Hive layout, label tables.

Each maker takes an open `Catalog` and a place to write to, writes it whole or not at all, and returns `Exported`: the
files and what their reader must know. The same catalog gives the same bytes.
"""
