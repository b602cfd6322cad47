"""Hyper-parameters found on validation alone, with the same budget for every model."""
