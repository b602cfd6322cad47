"""Interactions and features, aligned by item id."""
