"""Translating images with generators in ONNX."""
