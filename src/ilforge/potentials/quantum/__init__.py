"""Density functional theory and tight binding."""
