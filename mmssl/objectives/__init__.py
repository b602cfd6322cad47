"""Training objectives: one objective, one file."""
