"""The doctor: finds what is inconsistent in a store, and mends what can be mended safely."""
