"""Reading, checking and editing ONNX graphs with onnx, onnx_ir and numpy; no torch."""
