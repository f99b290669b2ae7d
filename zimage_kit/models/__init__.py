"""What can be loaded, and its files: specs, directories, hubs, LoRAs and other weights that are found by name."""
