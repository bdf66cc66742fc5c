"""Moves files of rows into tf.Examples by columns; nothing here knows the graph.

A file is looked at (`source`), divided at the ends of records (`records`, `plan`), read
into typed columns (`reading`, `columns`), shared out over splits (`splitting`) and
written (`writing`). Rows that don't fit are set aside (`quarantine`).
"""
