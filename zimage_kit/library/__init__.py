"""Pictures on this disk: where they go and what they are called."""
