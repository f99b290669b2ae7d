"""The report on this machine: what is installed, what it can draw with, and what stands in the way."""
