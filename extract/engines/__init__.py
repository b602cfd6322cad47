"""Who runs which part of an extraction."""
