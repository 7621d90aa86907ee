"""Commands for the tables of prepared images and features."""

from typing import Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json
from flows.cli.session import session


def store(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """Tables of prepared images and features: rows and bytes."""
    if context.invoked_subcommand is None:
        with session("store", home) as s:
            from tasks.runtime.store import photos, tables

            found = tables.tables() + photos.stored()
            s.show(found, as_json, lambda: output.listed(s, "Tables", found))


def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only list what would be deleted")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Drop the tables, and copies of photos behind addresses, that no registered version was trained from."""
    with session("store-prune", home) as s:
        from tasks.runtime.store import photos, tables
        from tasks.services.registry import versions

        used = versions.tables_in_use()
        found = [table | {"deleted": yes} for table in tables.tables() if table["table"] not in used]
        for table in found if yes else []:
            tables.drop(table["table"])
        copies = photos.prune(versions.photos_in_use() if photos.stored() else (), delete=yes)
        found += [row | {"deleted": yes} for row in copies]
        s.show(found, as_json, lambda: output.listed(s, "Tables that no registered version was trained from", found))
        if found and not yes and not as_json:
            s.note("Nothing was deleted. To delete: headstart store prune --yes.")
