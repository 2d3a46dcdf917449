"""The inputs that a network is tuned on: synthesized, generated, procedural, augmented, pooled."""
