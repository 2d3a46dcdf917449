"""Translating pictures with generators in ONNX."""
