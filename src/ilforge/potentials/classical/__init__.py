"""Classical force fields, and what they share."""
