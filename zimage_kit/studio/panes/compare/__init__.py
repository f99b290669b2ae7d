"""Results compared: two with a slider, several side by side."""
