"""Models whose packages live in an environment of their own: a process there answers frame after frame."""
