"""Post-training quantization: a float Graph to an int8 one, by TFLite's rules. Needs no torch."""
