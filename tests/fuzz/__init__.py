"""Damaged files for every reader of files that come from others."""

from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "support"
