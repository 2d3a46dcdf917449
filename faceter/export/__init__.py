"""Export of torch modules to ONNX, on the machine that has them."""
