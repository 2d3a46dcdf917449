"""Resizing as Pillow, OpenCV, TensorFlow and torch do it, each with its own kernels and rounding."""
