"""The view of one grid: its board, its feed, and two of its cells compared."""
