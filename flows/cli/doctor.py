"""The command that checks what works on this machine."""

import os
from typing import Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json
from flows.cli.session import Session, session


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="First upgrade databases and clean up after killed processes")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What works here: versions, weights, servers, disk, cores."""
    with session("doctor", home) as s:
        from tasks.services import health

        if repair:
            _repair(s)
        found = health.checks()
        s.show(found, as_json, lambda: output.listed(s, "This machine", found))
        raise typer.Exit(0 if all(row["ok"] for row in found) else 3)


def _repair(s: Session) -> None:
    from flows.cli import startup
    from tasks.runtime import databases
    from tasks.services.registry import promotion, registered_models

    tracking = os.environ["MLFLOW_TRACKING_URI"]
    files = {databases.OPTUNA: databases.OPTUNA.file}
    if tracking.startswith("sqlite"):
        files[databases.MLFLOW] = databases.file_of(tracking)
    for kind, file in files.items():
        if told := databases.upgrade(kind, file):
            s.say(told)
    with startup.up():
        for name in registered_models.names():
            promotion.checked(name)
