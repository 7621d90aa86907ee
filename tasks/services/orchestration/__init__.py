"""Prefect: stages, events, triggers, recovery, monitoring."""
