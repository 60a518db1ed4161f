"""Which way to choose channels at run time is best."""
