"""The build directory: its manifest, the arrays and codes that go in and out, comparisons with oracles, reports."""
