"""Pages, tables and figures of runs and studies, and the index of all runs."""
