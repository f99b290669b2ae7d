"""One process that draws: what is on the device, and the numerics. torch is imported here and nowhere above."""
