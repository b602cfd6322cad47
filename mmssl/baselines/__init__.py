"""Recommenders to compare with."""
