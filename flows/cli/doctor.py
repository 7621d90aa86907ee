"""The command that checks what works on this machine."""

from typing import Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json
from flows.cli.session import session


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="First clean up after killed processes")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What works here: versions, weights, servers, disk, cores."""
    with session("doctor", home) as s:
        from tasks.services import health

        if repair:
            _repair()
        found = health.checks()
        s.show(found, as_json, lambda: output.listed(s, "This machine", found))
        raise typer.Exit(0 if all(row["ok"] for row in found) else 3)


def _repair() -> None:
    from flows.cli import startup
    from tasks.services.registry import promotion, registered_models

    with startup.up():
        for name in registered_models.names():
            promotion.checked(name)
