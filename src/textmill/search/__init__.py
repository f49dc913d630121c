"""A search: many runs with different settings, to find the best."""
