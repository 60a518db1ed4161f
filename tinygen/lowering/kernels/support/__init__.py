"""What several kernels' plans share."""
