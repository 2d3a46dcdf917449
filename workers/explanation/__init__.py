"""What units of a network detect: compositional explanations (Mu & Andreas 2020), exact and fast."""
