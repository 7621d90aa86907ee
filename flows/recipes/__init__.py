"""The recipes that come with the project; each is a TOML file, its name is the file's stem."""

from pathlib import Path

from tasks.runtime.errors import UsageError


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
