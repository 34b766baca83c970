"""Several runs, temperatures and processes together."""
