"""Outputs: statement and lists as text, CSV, workbook and PDF. Views, never the evidence."""
