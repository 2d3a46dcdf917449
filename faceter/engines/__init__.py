"""What runs a graph: ONNX Runtime, the reference, behind one small interface."""
