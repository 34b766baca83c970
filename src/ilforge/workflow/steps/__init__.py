"""The steps of a study, one file each: what a stage is keyed by, and what it does."""
