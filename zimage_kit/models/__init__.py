"""Models and their files: specs, directories, hubs, LoRAs and other weights that are found by name."""
