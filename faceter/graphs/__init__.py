"""Reads, checks and edits ONNX graphs with onnx and numpy; no torch."""
