"""Kinds of file that layouts are made of: read and written, with the place of what is wrong."""
