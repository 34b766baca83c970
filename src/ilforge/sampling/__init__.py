"""Sampling: from packed boxes to frames worth labelling, each with where it came from."""
