"""Which answers of a class are alike beyond the stub: a hint for a person, never a mark."""
