"""Sound to what a model takes: front ends, their exact meaning in NumPy, and their C."""
