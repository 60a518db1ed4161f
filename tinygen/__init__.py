"""tinygen: compressed neural networks as C for microcontrollers, proved on a board."""
