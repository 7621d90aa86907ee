"""The command `headstart` and its subcommands. Heavy libraries are imported inside the commands that need them."""

import gc
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from flows.cli import catalog, doctor, labels, models, runs, serve, session, store


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headstart {metadata.version('headstart')}")
        raise typer.Exit


class _Grouped(TyperGroup):
    """Commands under the headings of `COMMANDS`, where Typer without Rich prints one list."""

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for group in COMMANDS:
            found = {
                name: each for name, each in self.commands.items() if getattr(each, "rich_help_panel", None) == group
            }
            with formatter.section(group):
                formatter.write_dl([(name, each.get_short_help_str(1000)) for name, each in found.items()])


app = typer.Typer(
    cls=_Grouped,
    help="Transfer learning for image classifiers: photos in, a registered and judged model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit", callback=_version)] = False,
) -> None: ...


#: The commands, in the groups that --help shows.
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Start": (runs.init, runs.check, runs.train, runs.compare),
    "Models": (
        *(models.models, models.predict, models.score, models.export),
        *(models.promote, models.rollback, models.verify, models.testset),
    ),
    "Retraining": (runs.retrain, serve.serve, serve.deploy, serve.notify, serve.alerts),
    "What a recipe can use": (
        *(catalog.backbones, catalog.heads, catalog.sources, catalog.gates, catalog.engines),
        *(catalog.settings, catalog.schema),
    ),
    "Labels and state": (doctor.doctor, catalog.licences),
}
for group, commands in COMMANDS.items():
    for command in commands:
        # Given as the short text, the whole first line is shown; Typer cuts what it takes from the docstring.
        about = (command.__doc__ or "").splitlines()[0]
        app.command(short_help=about, rich_help_panel=group)(command)

tables = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
tables.callback()(store.store)
tables.command()(store.check)
tables.command()(store.prune)
app.add_typer(tables, name="store", rich_help_panel="Labels and state")

corrections = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Correct labels by hand.")
corrections.command("suspects")(labels.suspects)
corrections.command("apply")(labels.apply_labels)
corrections.command("undo")(labels.undo_labels)
corrections.command("list")(labels.list_labels)
app.add_typer(corrections, name="labels", rich_help_panel="Labels and state")


def main() -> None:
    """Entry point of the command."""
    # Libraries create hundreds of thousands of lasting objects; a collection at every 700th takes a sixth of the time
    # of a fully cached command. flows/cli/startup.py restores Python's default.
    gc.set_threshold(50_000)
    with session.own_process():
        app()
