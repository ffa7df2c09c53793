"""Models on many devices at once: the file that names them, running them all, and what is kept of it."""
