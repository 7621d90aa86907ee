"""Which column of a table is the image, the label, the group and the split."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data.sources import SPLIT_NAMES
from tasks.runtime.errors import UsageError

#: Rows that are looked at, from the whole table.
SEEN = 200
PHOTOS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
#: Columns that a message describes.
SHOWN = 12
#: What people call the columns, the most certain first.
IMAGE_NAMES = ("image", "file_name", "filename", "file", "path", "filepath", "file_path", "image_path", "img", "photo")
LABEL_NAMES = ("label", "labels", "class", "class_name", "category", "target", "species", "diagnosis", "breed", "y")
GROUP_NAMES = ("group", "patient", "subject", "person", "participant", "animal", "individual", "specimen")
#: Classes that a column may have whose name does not say that it is the label.
MANY = 200


def guess(table: pd.DataFrame, base: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Options of the source `manifest` that name columns, and the reason for each; `given` are a person's own.

    `base`: the folder that file names are relative to. Raises `UsageError`, with the columns, if it cannot be guessed.
    """
    found: dict[str, str] = {}
    why: dict[str, str] = {}

    def choose(option: str, columns: list[str], reason: Callable[[str], str]) -> None:
        if option not in given and columns:
            found[option] = columns[0]
            why[option] = reason(columns[0])

    def free() -> list[str]:
        taken = {*found.values(), *map(str, given.values())}
        return [column for column in table if column not in taken]

    if not {"image", "contents"} & set(given):
        inside = [column for column in free() if _sample(table[column]).map(_is_image).any()]
        choose("contents", inside, lambda _: "the column with the images themselves")
        if not inside:
            files = _files(table, free(), base)
            choose("image", files, lambda _: "the column with the file names")
            if not files:
                raise _unknown(table, "image", "the file names")
    choose("split", [c for c in free() if _is_split(table[c])], lambda _: "the column with train, validation or test")
    named = [column for column in free() if _words(column, GROUP_NAMES) and _classes(table[column])]
    choose("group", named, lambda name: f"images with the same {name} stay in one split")
    if "label" not in given:
        labels = _labels(table, free())
        if len(labels) != 1:
            raise _unknown(table, "label", "the classes")
        choose("label", labels, lambda name: f"the column with the classes: {_classes(table[name])}")
    return found, why


def _files(table: pd.DataFrame, columns: Iterable[str], base: Path) -> list[str]:
    """Columns that hold file names, the one to take first; none if two are equally likely."""
    fits = {column: fit for column in columns if (fit := _file_fit(_sample(table[column]), base))}
    best = sorted(
        fits, key=lambda column: (-round(fits[column], 1), _place(column, IMAGE_NAMES), list(table).index(column))
    )
    if len(best) > 1 and fits[best[0]] == fits[best[1]] and _place(best[0], IMAGE_NAMES) == len(IMAGE_NAMES):
        raise _unknown(table, "image", "the file names")
    return best


def _file_fit(values: pd.Series, base: Path) -> float:
    """How well values do as photos' names: 2 if all are files, 1 if they only end like photos, 0 for others."""
    texts = [value for value in values if isinstance(value, str) and "\0" not in value]
    if not texts:
        return 0.0
    ends = sum(text.lower().endswith(PHOTOS) for text in texts) / len(texts)
    there = sum(_is_file(base / text) for text in texts) / len(texts)
    return (ends > 0.5) + there if max(ends, there) > 0.5 else 0.0


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for any file
        return False


def _labels(table: pd.DataFrame, columns: list[str]) -> list[str]:
    """Columns that may be the label: the one that is called so, else all with a few values that repeat."""
    classes = {column: n for column in columns if (n := _classes(table[column])) > 1}
    called = sorted((c for c in classes if _place(c, LABEL_NAMES) < len(LABEL_NAMES)), key=_label_place)
    return called[:1] or [column for column, n in classes.items() if n <= MANY]


def _label_place(column: str) -> int:
    return _place(column, LABEL_NAMES)


def _classes(values: pd.Series) -> int:
    """How many values a column has; 0 if they hardly repeat, or are no names of classes."""
    known = values.dropna()
    try:
        n = known.nunique()
    except TypeError:  # lists and the like
        return 0
    return 0 if pd.api.types.is_float_dtype(known) or n > len(known) / 2 else int(n)


def _is_split(values: pd.Series) -> bool:
    """Whether a column says train, and validation or test."""
    seen = _sample(values.astype(object).map(lambda value: str(value).strip().casefold(), na_action="ignore"))
    known = set(seen.drop_duplicates())
    return known <= set(SPLIT_NAMES) and len({SPLIT_NAMES[name] for name in known}) > 1


def _is_image(value: Any) -> bool:
    return isinstance(value.get("bytes") if isinstance(value, dict) else value, bytes)


def _words(column: str, names: tuple[str, ...]) -> bool:
    return any(word in names for word in str(column).casefold().replace("-", "_").replace(" ", "_").split("_"))


def _place(column: str, names: tuple[str, ...]) -> int:
    name = str(column).strip().casefold().replace(" ", "_").replace("-", "_")
    return names.index(name) if name in names else len(names)


def _sample(values: pd.Series) -> pd.Series:
    known = values.dropna()
    return known.iloc[:: max(1, len(known) // SEEN)]


def _unknown(table: pd.DataFrame, option: str, what: str) -> UsageError:
    columns = list(table)
    shown = "; ".join(f"{str(column)[:60]} ({_example(table[column])})" for column in columns[:SHOWN])
    shown += f"; and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return UsageError(
        f"Expected one column with {what}, but it cannot be told which. Name it with --set "
        f"source.options.{option}=COLUMN. The columns: {shown}."
    )


def _example(values: pd.Series) -> str:
    known = values.dropna()
    try:
        n = f"{known.nunique()} values"
    except TypeError:
        n = type(known.iloc[0]).__name__
    return f"{n}, such as {str(known.iloc[0])[:30]}" if len(known) else "empty"
