"""ilforge: from the names of the ions to a machine-learned force field you can trust."""
