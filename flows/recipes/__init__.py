"""The recipes that come with the project; each is a TOML file, its name is the file's stem."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.runtime.errors import UsageError

if TYPE_CHECKING:
    from tasks.settings import Recipe


def shipped() -> dict[str, Path]:
    """Path of each shipped recipe, by name."""
    return {f.stem: f for f in sorted(Path(__file__).parent.glob("*.toml"))}


def find(recipe: str) -> Path:
    """The recipe's file, from the name of a shipped recipe or a path; `UsageError` if it is neither."""
    path = shipped().get(recipe, Path(recipe))
    if not path.is_file():
        raise UsageError(
            f"Expected a recipe: one of {', '.join(shipped())}, or the path of a TOML file. "
            f"Found {recipe!r}, which is neither."
        )
    return path


def each(recipes: Iterable[str]) -> Iterator[Path]:
    """The files of recipes, as `find` finds them; a folder stands for the TOML files in it, by name.

    Raises `UsageError` for a folder without one.
    """
    for recipe in recipes:
        if recipe in shipped() or not Path(recipe).is_dir():
            yield find(recipe)
            continue
        found = sorted(Path(recipe).glob("*.toml"))
        if not found:
            raise UsageError(f"Expected recipes, files that end in .toml, in the folder {recipe!r}, found none.")
        yield from found


def load(recipe: str, *overrides: str) -> "Recipe":
    """A recipe, from the name of a shipped one or the path of a TOML file, with overrides such as `head.kind=mlp`.

    Raises `UsageError` with everything that is wrong with it.
    """
    from tasks import settings

    return settings.load(find(recipe), overrides)
