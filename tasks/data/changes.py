"""What is in the data that was not there when a version was made of it."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class News:
    """Keys of images that are new, or whose label is another one now, and how many are no more there."""

    new: tuple[str, ...]
    relabelled: tuple[str, ...]
    removed: int

    @property
    def count(self) -> int:
        """Images that would teach something: new ones and those with another label."""
        return len(self.new) + len(self.relabelled)

    @property
    def sentence(self) -> str:
        """What there is, for people."""
        return f"{len(self.new)} new images, {len(self.relabelled)} with another label, {self.removed} removed"


def between(before: pd.DataFrame, now: pd.DataFrame) -> News:
    """Of two tables with the columns `key` and `label`."""
    known = dict(zip(before["key"], before["label"], strict=True))
    labels = dict(zip(now["key"], now["label"], strict=True))
    return News(
        tuple(key for key in labels if key not in known),
        tuple(key for key, label in labels.items() if known.get(key, label) != label),
        len(known.keys() - labels.keys()),
    )
