"""The panel: the form, the viewer, the results and what is said about them."""
