"""What the inner loops of several kernels take: weights, activations and epilogue together."""
