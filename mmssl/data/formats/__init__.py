"""Layouts of other tools and data sets, a module each; `registry` knows their names."""
