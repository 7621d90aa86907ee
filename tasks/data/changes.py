"""Changes of the data since a model version was trained on it."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Changes:
    """Keys of new images and of images with a changed label, and the number of removed images."""

    new: tuple[str, ...]
    relabelled: tuple[str, ...]
    removed: int
    #: Labels of today that no image had before.
    classes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Images to learn from: new ones and those with another label."""
        return len(self.new) + len(self.relabelled)

    def __bool__(self) -> bool:
        """Whether anything has changed."""
        return bool(self.count or self.removed)

    @property
    def sentence(self) -> str:
        """The changes as text."""
        text = f"{len(self.new)} new images, {len(self.relabelled)} with another label, {self.removed} removed"
        return f"{text}, new classes: {', '.join(self.classes)}" if self.classes else text


def between(before: pd.DataFrame, now: pd.DataFrame) -> Changes:
    """Changes between two tables with the columns `key` and `label`."""
    known = dict(zip(before["key"], before["label"], strict=True))
    labels = dict(zip(now["key"], now["label"], strict=True))
    return Changes(
        tuple(key for key in labels if key not in known),
        tuple(key for key, label in labels.items() if known.get(key, label) != label),
        len(known.keys() - labels.keys()),
        tuple(sorted({*labels.values()} - {*known.values()})),
    )
