"""Read labels of other programs: outputs, files, units."""
