"""Advice: what a teacher, its data and a recipe are like, measured on a sample, and what that would change in the recipe."""
