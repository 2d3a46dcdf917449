"""Texts in, a model's integer inputs out; and its outputs as embeddings."""
