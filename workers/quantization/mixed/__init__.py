"""Mixed precision: bit allocation by the sensitivity of the network to each weight."""
