"""Code that the plans of several kernels share."""
