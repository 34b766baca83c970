"""What several properties stand on."""
