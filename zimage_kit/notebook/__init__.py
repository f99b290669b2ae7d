"""Notebook cells: the `%%imagine` magic."""
