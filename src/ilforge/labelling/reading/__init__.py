"""Labels of others: outputs, files, units."""
