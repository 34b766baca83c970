"""Sampling: from packed boxes to frames worth labelling, each with its origin."""
