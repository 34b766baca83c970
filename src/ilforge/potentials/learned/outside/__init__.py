"""Models whose packages are in a separate environment: a process there evaluates frame after frame."""
