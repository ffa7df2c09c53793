"""The waist: the graph of quantized operators, how it is trained into being, and the reference that foretells every runtime."""
