"""Assignment of images to training, validation and test."""

import hashlib

import pandas as pd

from tasks.settings import Split


def draw_split(rows: pd.DataFrame, split: Split) -> pd.Series:
    """train, validation or test for each row.

    A salted hash of `group`, else of `key`, decides, so that an image keeps its split when data grows, and copies and
    groups stay in one split. A split fixed by the source stays; missing ones are drawn from its training rows.
    """
    fixed = rows["split"]
    given = set(fixed.dropna())
    token = rows["group"].where(rows["group"].notna(), rows["key"]).fillna(rows["uri"])
    draw = token.map(lambda text: int(hashlib.sha256(f"{split.salt}|{text}".encode()).hexdigest()[:13], 16) / 16**13)
    test = 0.0 if "test" in given else split.test
    validation = 0.0 if "validation" in given else split.validation
    drawn = pd.Series("train", index=rows.index)
    drawn[draw < test + validation] = "validation"
    drawn[draw < test] = "test"
    return fixed.where(fixed.isin(["validation", "test"]), drawn)
