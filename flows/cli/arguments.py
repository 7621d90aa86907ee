"""Arguments and options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tasks.settings import Recipe

RecipeName = Annotated[
    str, typer.Argument(help="A shipped recipe's name, or the path of a TOML file", metavar="RECIPE")
]
Overrides = Annotated[list[str], typer.Option("--set", help="Override a setting: head.options.units=256; repeatable")]
Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of all state [default: HEADSTART_HOME or .headstart]")
]
Table = Annotated[Path, typer.Argument(help="label_suspects.csv of an audit, with its column corrected filled in")]
Model = Annotated[str, typer.Argument(help="NAME@alias, NAME/version, or NAME for its champion", metavar="MODEL")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the ledger")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output")]


def recipe_of(recipe: str, overrides: list[str]) -> "Recipe":
    """The recipe that a person names, checked, with the settings that `--set` overrides."""
    from flows.recipes import load

    return load(recipe, *overrides)
