"""The steps of a study, one file each: the settings in the key of each stage, and its work."""
