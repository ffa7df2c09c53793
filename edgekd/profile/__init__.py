"""Target profiles: one device, one file."""
