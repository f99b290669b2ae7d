"""The way in for notebooks' cells: the `%%imagine` magic."""
