"""The quantized network Q (student) and what it is trained by: learned quantizers, losses, bit schedule."""
