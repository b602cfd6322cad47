"""MMSSL: an equation, a place."""
