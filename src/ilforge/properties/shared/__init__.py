"""Code shared by several properties."""
