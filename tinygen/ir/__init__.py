"""The graph: tensors, encodings, operators and their exact meaning. Imports nothing else of tinygen's."""
