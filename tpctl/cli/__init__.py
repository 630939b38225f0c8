"""Floor 5: options to session to one call to a view; the only place where errors become exit codes."""
