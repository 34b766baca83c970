"""Trained models, and how they are evaluated."""
