"""From a source to batches: rows, checks, splits, tokens, batches."""
