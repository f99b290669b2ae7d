"""Every picture of the outputs folder, found again."""
