"""Experiments on methods of compression, a folder each; the README of a folder has question, command and result."""
