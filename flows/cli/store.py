"""Commands for what a home keeps: tables, folders of stages, results, logs."""

from typing import Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json
from flows.cli.session import session


def store(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """Tables of prepared images and features: rows and bytes."""
    if context.invoked_subcommand is None:
        with session("store", home) as s:
            from tasks.runtime.store import inventory, photos

            found = inventory.tables() + photos.stored()
            s.show(found, as_json, lambda: output.listed(s, "Tables", found))


def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Set aside what can be computed again, so that the next run computes it")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read everything that is kept, and say what is damaged."""
    with session("store-check", home) as s:
        from tasks.services import integrity

        found = list(integrity.damaged())
        mended = [damage for damage in found if repair and damage.again]
        for damage in mended:
            damage.set_aside()
        rows = [
            {"kind": d.kind, "name": d.name, "damage": d.wrong, "computed_again": d.again, "set_aside": d in mended}
            for d in found
        ]
        s.show(rows, as_json, lambda: output.listed(s, "Damaged", rows))
        if len(mended) < len(found) and not as_json:
            s.console.print(
                "The next run that needs it computes again what can be; headstart store check --repair sets it aside "
                "now. The rest comes from your own copies alone."
            )
        raise typer.Exit(1 if len(mended) < len(found) else 0)


def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only list what would be deleted")] = False,
    unused: Annotated[
        int, typer.Option("--unused", min=0, help="Days without use after which all but tables and photos go")
    ] = 30,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Drop tables and copies of photos that no registered version was trained from, and what was not used for long."""
    with session("store-prune", home) as s:
        from tasks.runtime.store import photos, upkeep
        from tasks.services.registry import versions

        copies = photos.stored()
        photos_used = versions.photos_in_use() if copies else set()
        found = upkeep.prune(versions.tables_in_use(), versions.datasets_in_use(), unused, delete=yes)
        if copies:
            out = photos.prune(photos_used, delete=yes) or [{"rows": 0, "bytes": 0}]
            held, goes = ((rows[0]["rows"], rows[0]["bytes"]) for rows in (copies, out))
            found.append(upkeep.row("photos", held, goes, yes))
        s.show(found, as_json, lambda: output.pruned(s, found))
        if any(row["drop_count"] for row in found) and not yes and not as_json:
            s.console.print("Nothing was deleted. To delete: headstart store prune --yes.")
