"""HTTP, and nothing else: routes, problem documents, image codecs, ONNX Runtime sessions."""
