"""The build directory: its manifest, input and output arrays and their codes, comparisons with oracles, reports."""
