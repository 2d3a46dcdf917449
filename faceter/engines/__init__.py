"""Inference engines: ONNX Runtime, the reference, behind a small interface."""
