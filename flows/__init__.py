"""Flows: how the stages are wired together, and the command `headstart`."""
