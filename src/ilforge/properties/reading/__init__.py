"""Trajectories of all kinds, read frame by frame."""
