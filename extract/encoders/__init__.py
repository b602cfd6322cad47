"""Encoders: the contract, the registry, and a module for each library."""
