"""Converters of operators on floats: most are one of ATen's, or a few."""
