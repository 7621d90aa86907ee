"""Commands for correcting labels by hand."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json, Table
from flows.cli.session import session


def suspects(
    name: Annotated[str, typer.Argument(help="A recipe's name", metavar="NAME")],
    to: Annotated[Path, typer.Option("--to", help="The CSV file to write")] = Path("label_suspects.csv"),
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the newest audit's label suspects to a CSV file, to fill in the column corrected."""
    with session("labels-suspects", home) as s:
        from tasks.data import corrections
        from tasks.runtime.errors import UsageError
        from tasks.services import tracking

        if to.is_file() and (count := corrections.unapplied(to)):
            raise UsageError(
                f"--to: expected no file, or one whose labels are applied, found {count} in {to} that are not. Run "
                f"headstart labels apply {to}, or name another file."
            )
        if not tracking.last(name, "audit", "label_suspects.csv", to):
            raise UsageError(f"Expected a run of {name!r} with an audit, found none. Run headstart train RECIPE.")
        text = f"{to}: fill in the column corrected where you are sure, then run headstart labels apply {to}"
        s.show({"recipe": name, "table": str(to)}, as_json, lambda: s.say(text))


def apply_labels(file: Table, home: Home = None, as_json: Json = False) -> None:
    """Store corrected labels for the recipe's next run. The source's files do not change."""
    with session("labels-apply", home) as s:
        from tasks.data import corrections

        recipe, changes = corrections.apply(file)
        s.show({"recipe": recipe, "changes": changes}, as_json, lambda: output.corrected(s, recipe, changes))


def undo_labels(file: Table, home: Home = None, as_json: Json = False) -> None:
    """Undo the corrections of the images that the table fills in: the source's labels are used again."""
    with session("labels-undo", home) as s:
        from tasks.data import corrections

        recipe, changes = corrections.undo(file)
        s.show({"recipe": recipe, "changes": changes}, as_json, lambda: output.corrected(s, recipe, changes))


def list_labels(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name; all when left out")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Labels that differ from the source's."""
    with session("labels-list", home) as s:
        from tasks.data import corrections

        names = [recipe] if recipe else corrections.recipes()
        found = [{"recipe": name} | row for name in names for row in corrections.kept(name)]
        s.show(found, as_json, lambda: output.listed(s, "Corrected labels", found))
