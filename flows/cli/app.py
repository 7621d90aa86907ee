"""The command `headstart`: which commands there are. Heavy libraries are imported inside those that need them."""

import gc

import typer

from flows.cli import catalog, doctor, labels, models, runs, serve, session, store

app = typer.Typer(
    help="Transfer learning for image classifiers: photos in, a registered and judged model out.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    *(runs.train, runs.retrain, runs.check, runs.compare),
    *(models.models, models.promote, models.rollback, models.verify, models.export, models.predict, models.score),
    *(serve.serve, serve.notify, serve.alerts),
    *(catalog.backbones, catalog.heads, catalog.sources, catalog.gates, catalog.engines, catalog.settings),
    doctor.doctor,
):
    app.command()(command)

tables = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
tables.callback()(store.store)
tables.command()(store.prune)
app.add_typer(tables, name="store")

corrections = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Labels that a person corrects.")
corrections.command("suspects")(labels.suspects)
corrections.command("apply")(labels.apply_labels)
corrections.command("undo")(labels.undo_labels)
corrections.command("list")(labels.list_labels)
app.add_typer(corrections, name="labels")


def main() -> None:
    """Entry point of the command."""
    # Libraries make objects by the hundred thousand that stay; collections that begin at each 700th look at them for a
    # sixth of the time that a command with nothing new takes. flows/cli/startup.py sets back what is usual.
    gc.set_threshold(50_000)
    with session.own_process():
        app()
