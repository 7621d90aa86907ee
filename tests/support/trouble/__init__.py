"""Attacks and faults that tests and acceptance commands share."""
