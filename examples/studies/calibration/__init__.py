"""Which values of the calibration set make the best range."""
