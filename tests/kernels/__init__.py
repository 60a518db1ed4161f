"""Which kernels are needed."""
