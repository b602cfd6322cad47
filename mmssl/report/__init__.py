"""A finished run as one page for people who decide."""
