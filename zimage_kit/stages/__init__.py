"""The contract of stages, and where stages come from: the registry, extensions and their discovery."""
