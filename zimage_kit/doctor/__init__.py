"""The report on this machine: what is installed, what it can run, and what is wrong."""
