"""Classical force fields and their common code."""
