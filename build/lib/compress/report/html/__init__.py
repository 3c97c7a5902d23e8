"""The report as one page: tables and plots to look into."""
