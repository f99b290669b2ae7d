"""The contract of a stage, and where stages come from: the registry, extensions and how they are found."""
