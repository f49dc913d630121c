"""``textmill runs``: lists, shows and compares the runs that there are."""
