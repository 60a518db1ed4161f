"""Converters of ATen operators, grouped by kind. Each registers itself."""
