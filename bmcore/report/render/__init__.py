"""The blocks and numbers of a report as PDF, web page, CSV and JSON."""
