"""Results side by side, with the differences between their recipes."""
