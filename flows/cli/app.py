"""The command `headstart` and its subcommands. Heavy libraries are imported inside the commands that need them."""

import gc
from importlib import metadata
from typing import Annotated

import typer

from flows.cli import catalog, doctor, labels, models, runs, serve, session, store


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headstart {metadata.version('headstart')}")
        raise typer.Exit


app = typer.Typer(
    help="Transfer learning for image classifiers: photos in, a registered and judged model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit", callback=_version)] = False,
) -> None: ...


for command in (
    *(runs.train, runs.retrain, runs.check, runs.compare),
    *(models.models, models.promote, models.rollback, models.verify, models.export, models.predict, models.score),
    *(serve.serve, serve.notify, serve.alerts),
    *(
        catalog.backbones,
        catalog.heads,
        catalog.sources,
        catalog.gates,
        catalog.engines,
        catalog.settings,
        catalog.schema,
    ),
    doctor.doctor,
):
    # Given as the short text, the whole first line is shown; Typer cuts what it takes from the docstring.
    app.command(short_help=(command.__doc__ or "").splitlines()[0])(command)

tables = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
tables.callback()(store.store)
tables.command()(store.prune)
app.add_typer(tables, name="store")

corrections = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Correct labels by hand.")
corrections.command("suspects")(labels.suspects)
corrections.command("apply")(labels.apply_labels)
corrections.command("undo")(labels.undo_labels)
corrections.command("list")(labels.list_labels)
app.add_typer(corrections, name="labels")


def main() -> None:
    """Entry point of the command."""
    # Libraries create hundreds of thousands of lasting objects; a collection at every 700th takes a sixth of the time
    # of a fully cached command. flows/cli/startup.py restores Python's default.
    gc.set_threshold(50_000)
    with session.own_process():
        app()
