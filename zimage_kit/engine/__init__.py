"""Drawing in one process: what is on the device, and the numerics. The rooms above do not import torch."""
