"""What opens beneath the picture."""
