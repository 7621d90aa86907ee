"""A folder with one sub-folder per class, or `train/ validation/ test/` with the classes below, or above.

The second is the layout of TFDS' ImageFolder (https://www.tensorflow.org/datasets/api_docs/python/tfds/folder_dataset).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from tasks.data.files import walk
from tasks.data.sources import NOTES, SPLIT_NAMES, STATED, STATS
from tasks.records import SPLITS
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.store import remote

#: A folder's place below the root.
Place = tuple[str, ...]
#: The label and the split of all photos below a folder; None for a split that has to be drawn.
Classes = dict[Place, tuple[str, str | None]]
#: Gives the names of the folders in a place, sorted.
Inside = Callable[[Place], list[str]]


def rows(*, path: Path | str) -> pd.DataFrame:
    """One row per file, hidden ones excluded; the label is the name of the sub-folder.

    Links are followed inside the folder. Loose files and empty folders are named in `attrs`.
    """
    root = remote.place(path, "source.options.path")
    if isinstance(root, str):
        return _behind(root)
    if not root.is_dir():
        raise DataError(f"source.options.path: expected a folder of photos, found no folder at {path} ({root}).")
    classes = _classes(str(root), lambda place: [folder.name for folder in walk.folders(root.joinpath(*place))])
    found: list[tuple[str, str, None, str | None, str | None]] = []
    parents = dict.fromkeys([root, *(root.joinpath(*place[:-1]) for place in classes)])
    notes = [note for parent in parents for note in _loose(parent)]
    for place, (label, split) in classes.items():
        inside = list(walk.files(root.joinpath(*place), root))
        found += [(file, label, None, split, error) for file, error in inside]
        if not inside:
            within = f" in {split}" if split else ""
            notes.append(f"The folder {root.joinpath(*place)} has no files: there is no class {label!r}{within}.")
    if not found:
        raise DataError(_unsorted(root))
    table = pd.DataFrame(found, columns=["uri", "label", "group", "split", "error"])
    table.attrs[NOTES] = notes
    return table


def _unsorted(root: Path | str) -> str:
    return (
        f"source.options.path: expected one sub-folder of photos for each class, found none in {root}. "
        'Photos that need no label, as in ladder.unlabelled: kind = "files".'
    )


def _classes(root: str, inside: Inside) -> Classes:
    """The folders whose photos have one label and one split. Raises `DataError` if none is to train on."""
    outer = inside(())
    # All may be one level deeper, in the only folder that there is, as in many archives.
    tops: list[Place] = [(), *([(outer[0],)] if len(outer) == 1 else [])]
    without: list[str] = []
    for found in _fixed(root, tops, inside):
        given = {split for _, split in found.values()}
        if "train" in given:
            return found
        without = without or [split for split in SPLITS if split in given]
    if without:
        raise DataError(
            f"source.options.path: expected images to train on in {root}, found only {' and '.join(without)} images: "
            "add train/."
        )
    return {(name,): (name, None) for name in outer}


def _fixed(root: str, tops: list[Place], inside: Inside) -> Iterator[Classes]:
    """The ways to read folders with names of splits: with the classes below them, and above."""
    for top in tops:
        where = "/".join((root, *top))
        splits = _splits(inside(top), where)
        below: Classes = {}
        for name, split in splits.items():
            below |= {(*top, name, label): (label, split) for label in inside((*top, name))}
        if splits and not below:
            raise DataError(
                f"source.options.path: expected one sub-folder of photos for each class in {', '.join(splits)} of "
                f"{where}, found none."
            )
        yield below
    top = tops[-1]
    held = {label: inside((*top, label)) for label in inside(top)}
    known = {label: [name for name in names if name.casefold() in SPLIT_NAMES] for label, names in held.items()}
    odd = [label for label in held if not known[label] or known[label] != held[label]]
    if any(known.values()) and odd:
        pair = list(dict.fromkeys([odd[0], *(label for label in held if known[label])]))[:2]
        shown = "; ".join(f"{', '.join(held[label][:5]) or 'no folders'} in {label}" for label in pair)
        raise DataError(
            f"source.options.path: expected folders of splits alone in each class of {'/'.join((root, *top))}, or in "
            f"none, found {shown}. Move the photos of each class into train, validation or test, or rename the folders "
            "with these names."
        )
    yield {
        (*top, label, name): (label, SPLIT_NAMES[name.casefold()]) for label, names in known.items() for name in names
    }


def _splits(names: list[str], top: str) -> dict[str, str]:
    """Folders of splits, with their split; none if the folders are those of classes. Raises `DataError` for a mix."""
    known = {name: SPLIT_NAMES.get(name.casefold()) for name in names}
    splits = {name: split for name, split in known.items() if split}
    others = [name for name in known if name not in splits]
    if others and ("train" not in splits.values() or len(splits) == 1):
        return {}
    if others:
        raise DataError(
            f"source.options.path: expected classes or splits in {top}, found both: {', '.join(others)} beside "
            f"{', '.join(splits)}. Move the former away."
        )
    return splits


def _behind(root: str) -> pd.DataFrame:
    """The rows of a folder behind an address, which is listed once."""
    if remote.scheme(root) not in remote.LISTED:
        raise UsageError(
            f"source.options.path: expected a folder that can be listed ({' or '.join(remote.LISTED)}), found {root}. "
            "Name the photos of a web server in a table: kind = 'manifest'."
        )
    stats = walk.below(root)
    parents = {file: tuple(file[len(root) + 1 :].split("/")[:-1]) for file in stats}
    tree: dict[Place, set[str]] = defaultdict(set)
    for parent in set(parents.values()):
        for depth, name in enumerate(parent):
            tree[parent[:depth]].add(name)
    classes = _classes(root, lambda place: sorted(tree[place]))
    depth = max(map(len, classes), default=0)
    used = {file: classes[parent[:depth]] for file, parent in parents.items() if parent[:depth] in classes}
    if not used:
        raise DataError(_unsorted(root))
    over = [file for file in stats if file not in used]
    table = pd.DataFrame([stats[file] for file in used], columns=list(STATS)).assign(
        uri=list(used),
        label=[label for label, _ in used.values()],
        group=None,
        split=[split for _, split in used.values()],
    )
    table.attrs[STATED] = True
    table.attrs[NOTES] = (
        [f"{len(over)} loose files in {root}, such as {over[0]}, are in no class: they are not used."] if over else []
    )
    return table


def _loose(folder: Path) -> list[str]:
    found = walk.loose(folder)
    if not found:
        return []
    return [f"{len(found)} loose files in {folder}, such as {found[0].name}, are in no class: they are not used."]
