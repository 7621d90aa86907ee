"""Weights of several trainings as one: between two of them, or their mean."""
