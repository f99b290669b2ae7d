"""The pane that makes grids of what is in the form."""
