"""The doctor: a report on what is installed on this machine, what it can run, and what is wrong."""
