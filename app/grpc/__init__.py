"""The Open Inference Protocol over gRPC; imported only where `grpc_port` is set."""
