"""Converters, by family of operators. Every module here is imported by the reader."""
