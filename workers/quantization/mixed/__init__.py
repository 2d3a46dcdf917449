"""Mixed precision: bits for every weight of its own, from how much the network's answers suffer by each."""
