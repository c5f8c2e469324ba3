"""What answers HTTP: parse, authorise, one call of a use case, render."""
