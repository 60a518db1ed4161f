"""Front ends, which convert sound to inputs of models: their exact semantics in NumPy, and their C."""
