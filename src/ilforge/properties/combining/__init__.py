"""Combine several runs, temperatures and processes."""
