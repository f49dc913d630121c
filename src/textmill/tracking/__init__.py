"""What a run leaves to look at, and the trackers that mirror it."""
