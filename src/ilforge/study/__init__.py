"""The study file and the machine file: typed, strict, documented."""
