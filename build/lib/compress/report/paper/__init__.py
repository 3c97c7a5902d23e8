"""The report for print: plots and LaTeX."""
