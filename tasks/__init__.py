"""Stages of a run (files, verbs) and the pure code that they call (folders, nouns)."""
