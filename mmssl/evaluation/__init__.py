"""Metrics and full ranking in blocks."""
