"""A first recipe for somebody's data."""

import os
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tasks.data.sources.proposals.look import Found, look, propose
from tasks.runtime.errors import UsageError
from tasks.runtime.home import home
from tasks.runtime.store.writing import replacing
from tasks.settings import Recipe, Source, loading, writing


@dataclass(frozen=True)
class Draft:
    """A recipe that was written to a file, and what was found in its source."""

    file: Path
    recipe: Recipe
    found: Found

    @property
    def title(self) -> str:
        """How many images and classes there are, and where."""
        options = self.recipe.source.options
        images, classes = sum(self.found.classes.values()), len(self.found.classes)
        return (
            f"{options.get('path', options.get('name'))}: {images} image{'s' * (images != 1)}, "
            f"{classes} class{'es' * (classes != 1)}"
        )

    @property
    def sentences(self) -> list[str]:
        """What is to know before the images are read."""
        given = self.found.splits
        said = [f"Splits of the source: {', '.join(f'{n} {name}' for name, n in given.items())}."] if given else []
        said += [f"Set aside: {n} files: {reason}." for reason, n in self.found.aside.items()]
        said += self.found.notes
        same = "; ".join(" and ".join(map(repr, labels)) for labels in self.found.alike)
        return said + ([f"Labels that look the same: {same}. labels.normalise = true joins them."] if same else [])

    def summary(self) -> dict[str, Any]:
        """The `--json` output about the recipe."""
        return {"recipe": str(self.file), "name": self.recipe.name, "found": asdict(self.found)}


def write(path: str, overrides: list[str], out: Path | None, force: bool) -> Draft:
    """Look at what is at a path, and write a recipe for it to `out`, by default NAME.toml in the working folder.

    `overrides` are settings such as `source.options.label=species`. Raises `UsageError` if the file is there already,
    unless `force`, or if it cannot be written.
    """
    values = loading.overridden({}, tuple(overrides))
    source = values.setdefault("source", {})
    named = source.setdefault("options", {}) if isinstance(source, dict) else None
    if not isinstance(named, dict):
        raise UsageError("--set: source.options is a table, such as source.options.label=species.")
    proposal = propose(path, named)
    name = values.get("name", proposal.name)
    file = out or Path(f"{name}.toml")
    if not force:
        check_free(file, "with --out, or overwrite it: --force")
    values["source"] = {"kind": proposal.source.kind} | source | {"options": proposal.source.options}
    values = {"name": name, "effort": "standard"} | values
    recipe = loading.check(values, "--set")
    found = look(recipe.source)
    found = replace(found, notes=tuple(dict.fromkeys((*proposal.notes, *found.notes))))
    draft = Draft(file, recipe, found)
    text = writing.toml(_values(name, values, found), proposal.why, _schema(file), f"{draft.title}.")
    loading.check(tomllib.loads(text), str(file))
    _put(file, text, "--out")
    return draft


def keep(values: dict[str, Any], file: Path, title: str) -> None:
    """Write the values of a recipe, without a search for what they choose. Raises `UsageError` where that fails."""
    plain = {name: value for name, value in values.items() if name not in ("effort", "minutes")}
    text = writing.toml(plain, {}, _schema(file), title)
    loading.check(tomllib.loads(text), str(file))
    _put(file, text, "--write")


def check_free(file: Path, how: str = "") -> None:
    """Raise `UsageError` if there is a file."""
    if file.exists():
        raise UsageError(f"Expected no file at {file}, found one. Name another one{how and f' {how}'}.")


def _put(file: Path, text: str, option: str) -> None:
    """Write a recipe, and beside all state the schema that editors check it by."""
    try:
        for to, content in ((home() / SCHEMA, writing.schema()), (file, text)):
            with replacing(to) as working:
                working.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option}: expected a file that can be written at {file}, but {error.strerror}.") from None


#: The schema that recipes name for editors, in the home folder.
SCHEMA = "recipe.schema.json"


def _values(name: str, given: dict[str, Any], found: Found) -> dict[str, Any]:
    """The settings that a first recipe shows: what differs from the defaults, and what most people will want to see."""
    defaults = Recipe(name=name, source=Source())
    shown: dict[str, Any] = {"name": name, "effort": given["effort"], "source": {}}
    if found.alike:
        shown["labels"] = {"normalise": defaults.labels.normalise}
    drawn = [split for split in ("test", "validation") if not (found.splits or {}).get(split)]
    shown["split"] = {split: getattr(defaults.split, split) for split in drawn}
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(shown.get(key), dict)
        shown[key] = shown[key] | value if both else value
    return shown


def _schema(file: Path) -> str:
    """Where the schema is, seen from the recipe: a relative URL, without blanks."""
    relative = os.path.relpath(home() / SCHEMA, file.absolute().parent)
    return quote(os.fsencode(relative if relative.startswith(".") else f"./{relative}"))
