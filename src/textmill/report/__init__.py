"""The report of a run: one page, made from the files of the run's folder alone."""
