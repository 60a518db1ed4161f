"""Operators on floats that wait for their quantizer, by family."""
