"""Assignment of images to training, validation and test: stratified, by group, and stable while the data grow.

Each image has a token: its group, else its content. Images of one token, and the tokens of copies of one image, form a
unit, which is never divided. In each class the units are sorted by a salted hash of their tokens, and cut twice: test
images first, then validation images, then training images. The cuts are fixed values of the hash, not ranks, so a unit
keeps its split when others are added. Only two rules move them: every class with at least three units has one in each
split where whole units allow it, and the shares come out within `TOLERANCE`.

Both rules may move a cut when the data grow. `before` prevents that a model is then tested on what an earlier one was
trained on: such units keep their split.

By time, the newest units are the test images, and the next ones the validation images. A random share of all other
units, by the same hash, is set apart: what a model does with these older images beside the newest tells what time
changes.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.records.base import OLDER, SPLITS
from tasks.records.data import PREFIX
from tasks.runtime.errors import UsageError
from tasks.settings import Split

#: Largest difference between a share and its setting, from 400 images on; for n images it is sqrt(400 / n) times that.
TOLERANCE = 0.025
#: What a model is trained or steered on.
STEERED = ("train", "validation")
#: By what a model may have seen: an image never moves to the right, except that no model sees the last two.
ORDER = (*STEERED, OLDER, "test")


def draw(rows: pd.DataFrame, split: Split, before: pd.Series | None = None) -> pd.Series:
    """train, validation or test for each row of `uri, label, group, split, key`, and the column `split.by_time`.

    By time also `OLDER`. A split that the source gives stays; one that it lacks is drawn from its training images.
    `before`: earlier splits by key. An image never moves from train to validation or test, nor from validation to test.
    """
    drawn, free = rows["split"].copy(), _free(rows)
    if not free.any():
        return drawn
    rows, unit = rows[free], units(rows[free])
    size, limit = np.bincount(unit), _limit(rows, unit, before)
    test, validation = _wanted(drawn, split)
    if split.by_time:
        classes, order = None, _by_time(rows, unit, split)
    else:
        order = _by_hash(rows, unit, split.salt)
        classes = _Classes(rows["label"], unit, order)

    def place(first: float, second: float) -> np.ndarray:
        """The place in `ORDER` of each unit, for a cut at `first` and another one `second` after it."""
        cut = classes.cut(first, second) if classes else 2 - np.searchsorted([first, first + second], order, "right")
        return np.minimum(cut, limit)

    images = size.sum()
    slack = TOLERANCE * max(1, (400 / images) ** 0.5)
    first = _within(lambda cut: size[place(cut, validation) == 2].sum() / images, test, slack)
    second = _within(lambda cut: size[place(first, cut) == 1].sum() / images, validation, slack)
    places = place(first, second)
    if classes:
        for wanted, share in ((2, test), (1, validation)):
            if share:
                classes.fill(places, wanted, limit)
    drawn[free] = np.array(SPLITS, object)[places[unit]]
    if split.by_time and test:
        drawn[free] = drawn[free].mask(_apart(rows, unit, places, limit, split)[unit], OLDER)
    return drawn


def few(rows: pd.DataFrame, split: Split) -> dict[str, int]:
    """Classes with too few units to have one in each split that is drawn: their number of units by label."""
    rows = rows[_free(rows)]
    needed = 1 + sum(share > 0 for share in _wanted(rows["split"], split))
    found = pd.Series(units(rows)).groupby(rows["label"].to_numpy()).nunique()
    return {str(label): int(n) for label, n in found[found < needed].items()}


def dates(rows: pd.DataFrame, split: Split) -> pd.Series:
    """The column `split.by_time`. Raises `UsageError` if the source has none of this name."""
    column = PREFIX + split.by_time
    if column not in rows:
        known = ", ".join(name.removeprefix(PREFIX) for name in rows if name.startswith(PREFIX)) or "none"
        raise UsageError(
            f"split.by_time: expected a column of dates that the source gives besides the image and the label, found "
            f"no {split.by_time!r}. The columns are: {known}."
        )
    return rows[column]


def times(dates: pd.Series) -> pd.Series:
    """Dates as ISO 8601 writes them, as points in time; NaT for other text."""
    return pd.to_datetime(dates.astype("string"), utc=True, format="ISO8601", errors="coerce")


def remembered(now: pd.Series, before: pd.Series | None) -> pd.Series:
    """The split by key of images of both, where they differ the one that lets a model see more."""
    both = now if before is None else pd.concat([before, now])
    place = both.map(ORDER.index).astype(int).groupby(level=0).min()
    return pd.Series(np.array(ORDER, object)[place], place.index)


def counts(split: pd.Series) -> dict[str, int]:
    """How many rows each split has; `OLDER` only where there are any."""
    return {name: n for name in (*SPLITS, OLDER) if (n := int((split == name).sum())) or name in SPLITS}


def units(rows: pd.DataFrame, alike: pd.DataFrame | None = None) -> np.ndarray:
    """int[n]: the unit of each row. The images of a group are one unit, as are copies of an image with their groups.

    `alike`: two columns of keys of images that show the same, so that they and their groups are one unit too.
    """
    keys, known = pd.factorize(rows["key"].fillna(rows["uri"]))
    groups = pd.factorize(rows["group"])[0]
    grouped = groups >= 0
    nodes = len(known) + groups.max(initial=-1) + 1
    pairs = np.empty((0, 2), int) if alike is None else known.get_indexer(alike.to_numpy(object).ravel()).reshape(-1, 2)
    pairs = np.concatenate([np.stack([keys[grouped], len(known) + groups[grouped]], axis=1), pairs])
    pairs = pairs[(pairs >= 0).all(axis=1)]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(nodes, nodes))
    return np.asarray(pd.factorize(connected_components(graph, directed=False)[1][keys])[0])


def unseen(rows: pd.DataFrame, unit: np.ndarray, earlier: pd.DataFrame | None, part: str = "test") -> np.ndarray:
    """Which rows of (key, group, split) neither of two models was trained or steered on, in one split: bool[n].

    One model was made from these rows, the other from `earlier`, its rows of (key, split) and, in newer versions,
    `group`; None if that is not known. `unit`: int[n], as `units` gives it; a unit that either model has seen in
    training or validation is seen as a whole. `part`: the split.
    """
    seen = rows["split"].isin(STEERED)
    if earlier is not None:
        steered = earlier[earlier["split"].isin(STEERED)]
        seen |= rows["key"].isin(steered["key"])
        if "group" in steered:
            seen |= rows["group"].notna() & rows["group"].isin(steered["group"].dropna())
    return (rows["split"] == part).to_numpy() & ~np.isin(unit, unit[seen.to_numpy()])


def leaks(rows: pd.DataFrame, earlier: pd.DataFrame, seen: pd.Series) -> int:
    """How many rows of (key, group, split) a network that goes on from an earlier model's may not be judged by.

    Validation images that the model was trained on, and others that it was trained or steered on. `earlier`: the
    (key, group, split) of its images; `seen`: the split by key of these and of those of the models before it.
    """
    known = rows["key"].map(seen)
    for part in STEERED:
        of_part = earlier.loc[earlier["split"] == part, "group"].dropna()
        known = known.mask(rows["group"].isin(of_part) & (known != "train"), part)
    judges = rows["split"] != "train"
    return int((judges & ((known == "train") | ((known == "validation") & (rows["split"] != "validation")))).sum())


def _free(rows: pd.DataFrame) -> pd.Series:
    """Whether the source has not given the row to validation or test."""
    return ~rows["split"].isin(ORDER[1:])


def _wanted(given: pd.Series, split: Split) -> tuple[float, float]:
    """The shares of test and validation images that are drawn; 0 for what the source gives."""
    there = set(given.dropna())
    return (0.0 if "test" in there else split.test, 0.0 if "validation" in there else split.validation)


def _by_hash(rows: pd.DataFrame, unit: np.ndarray, salt: str) -> np.ndarray:
    """A number from 0 to 1 for each unit: the largest of its tokens'."""
    token = rows["group"].where(rows["group"].notna(), rows["key"]).fillna(rows["uri"])
    number = [int(hashlib.sha256(f"{salt}|{text}".encode()).hexdigest()[:13], 16) / 16**13 for text in token]
    return pd.Series(number).groupby(unit).max().to_numpy()


def _by_time(rows: pd.DataFrame, unit: np.ndarray, split: Split) -> np.ndarray:
    """For each unit the share of the images that are newer, 0 to 1; a unit is as new as its newest image."""
    newest = pd.Series(times(dates(rows, split)).to_numpy()).groupby(unit).max()
    size = pd.Series(np.bincount(unit)).groupby(newest.to_numpy()).sum().sort_index(ascending=False)
    newer = (size.cumsum() - size) / size.sum()
    return newer.loc[newest.to_numpy()].to_numpy()


def _apart(rows: pd.DataFrame, unit: np.ndarray, places: np.ndarray, limit: np.ndarray, split: Split) -> np.ndarray:
    """Which units that are not tested are set apart as `OLDER`, at random: bool[units].

    A class keeps its training or its validation units where it would have none left.
    """
    found = (_by_hash(rows, unit, split.salt) < split.older) & (places < 2) & (limit == 2)
    of_class = pd.DataFrame({"label": rows["label"].to_numpy(), "place": places[unit], "unit": unit})
    emptied = pd.Series(found[unit]).groupby([of_class["label"], of_class["place"]]).transform("all").to_numpy()
    found[unit[emptied]] = False
    return found


def _limit(rows: pd.DataFrame, unit: np.ndarray, before: pd.Series | None) -> np.ndarray:
    """The last place in `ORDER` that each unit may have."""
    if before is None:
        return np.full(unit.max() + 1, 2)
    was = rows["key"].map(before).map({name: i for i, name in enumerate(STEERED)}).fillna(2).astype(int)
    return was.groupby(unit).min().to_numpy()


def _within(share: Callable[[float], float], wanted: float, slack: float) -> float:
    """The cut nearest to `wanted` whose share is within `slack` of it, or as near as there is."""
    found = share(wanted)
    if not wanted or abs(found - wanted) <= slack:
        return wanted
    # Shares grow with the cut.
    goal = wanted + (slack if found > wanted else -slack)
    inside, outside = (1e-9, wanted) if found > wanted else (1.0, wanted)
    for _ in range(40):
        middle = (inside + outside) / 2
        enough = share(middle) <= goal if found > wanted else share(middle) >= goal
        inside, outside = (middle, outside) if enough else (inside, middle)
    return inside


class _Classes:
    """The units of each class, in the order of their hashes."""

    def __init__(self, labels: pd.Series, unit: np.ndarray, order: np.ndarray) -> None:
        """`labels` and `unit`: of each row; `order`: of each unit."""
        pairs = np.unique(np.stack([pd.factorize(labels, use_na_sentinel=False)[0], unit]), axis=1)
        self.label, self.unit = pairs[:, np.lexsort([order[pairs[1]], pairs[0]])]
        self.order = order
        self.count = np.bincount(self.label)
        self.rank = np.arange(len(self.label)) - (np.cumsum(self.count) - self.count)[self.label]

    def cut(self, test: float, validation: float) -> np.ndarray:
        """The place of each unit; one with several classes is where the most cautious of them puts it."""
        least = np.array([test > 0, validation > 0], int)
        # Where there are too few for all, all are trained on.
        n = np.where(self.count > least.sum(), self.count, 1)
        first = np.clip(self._below(test), np.minimum(least[0], n - 1), np.maximum(n - 1 - least[1], 0))
        second = np.clip(self._below(test + validation), np.minimum(first + least[1], n - 1), n - 1)
        place = np.where(self.rank < first[self.label], 2, np.where(self.rank < second[self.label], 1, 0))
        found = np.full(len(self.order), 2)
        np.minimum.at(found, self.unit, place)
        return found

    def fill(self, places: np.ndarray, wanted: int, limit: np.ndarray) -> None:
        """Move a training unit to `wanted` for each class that has none there, if it leaves one to train on."""
        there = np.bincount(self.label[places[self.unit] == wanted], minlength=len(self.count))
        for label in np.flatnonzero((there == 0) & (self.count > 2)):
            for unit in self.unit[self.label == label]:  # in the order of their hashes
                others = np.isin(self.label, self.label[self.unit == unit]) & (places[self.unit] == 0)
                left = np.bincount(self.label[others])
                if places[unit] == 0 and limit[unit] >= wanted and left[left > 0].min() > 1:
                    places[unit] = wanted
                    break

    def _below(self, cut: float) -> np.ndarray:
        """How many units of each class are below a cut, int[classes]."""
        return np.bincount(self.label[self.order[self.unit] < cut], minlength=len(self.count))
