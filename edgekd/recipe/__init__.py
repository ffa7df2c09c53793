"""Recipes: what to distil, from what, on what."""
