"""The Open Inference Protocol, version 2: its messages, and their conversion to and from arrays."""
