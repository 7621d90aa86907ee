"""Commands that write a recipe and run one: init, train, retrain, check, compare."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json, Overrides, RecipeName, recipe_of
from flows.cli.session import session


def init(
    path: Annotated[
        str, typer.Argument(help="A folder of photos, a table that names them, or tfds:NAME", metavar="PATH")
    ],
    overrides: Overrides = [],  # noqa: B006 - Typer reads the default, nothing changes it
    out: Annotated[Path | None, typer.Option("--out", help="The file to write [default: NAME.toml, here]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--project", help="A new folder for the recipe, a plugin, and files for CI, Prefect and Docker"),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Look at photos, write a recipe for them, and check it."""
    with session("init", home) as s:
        from flows.recipes import draft, project
        from tasks.runtime.errors import DataError, UsageError

        if folder and (out or force):
            raise UsageError("--project: expected neither --out nor --force beside it: the folder is new.")
        drafted = project.write(path, overrides, folder) if folder else draft.write(path, overrides, out, force)
        if not as_json:
            output.drafted(s, drafted)
        from flows.cli import startup
        from flows.train import check as flow

        given = ["--home", str(home)] if home else []
        following = shlex.join(["headstart", "train", str(drafted.file), *given])
        try:
            with startup.up(drafted.recipe):
                dataset = flow(drafted.recipe)
        except DataError as error:
            again = following.replace("train", "check", 1)
            raise DataError(f"{error}\nThe recipe is in {drafted.file}. Change it or the data, then: {again}") from None
        s.show(
            drafted.summary() | {"check": dataset.summary(), "next": following},
            as_json,
            lambda: output.checked(s, dataset, following),
        )


def train(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    effort: Annotated[str, typer.Option("--effort", help="Search for the best: quick, standard or best")] = "",
    minutes: Annotated[float, typer.Option("--minutes", help="Time for the run and its search", min=0)] = 0.0,
    write: Annotated[Path | None, typer.Option("--write", help="A file for the recipe with all choices")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Compute every stage again")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a recipe: validate, preprocess, extract, train, evaluate, gate, register."""
    with session("train", home) as s:
        asked = [f"effort={effort}"] if effort else []
        checked = recipe_of(recipe, [*overrides, *asked, *([f"minutes={minutes}"] if minutes else [])])
        from flows.cli import startup
        from flows.recipes import draft
        from flows.train import train as flow
        from tasks.networks import backend
        from tasks.services.orchestration.stage import refreshing

        if write:
            draft.check_free(write)
        backend.use(checked.backend)  # before TensorFlow, which imports Keras
        with startup.up(checked), refreshing(refresh):
            outcome = flow(checked)
        if write:
            draft.keep(outcome.recipe, write, f"What {checked.name} version {outcome.version.version} was made with.")
        s.show(outcome.summary(), as_json, lambda: output.outcome(s, outcome))
        raise typer.Exit(1 if outcome.verdict.decision == "keep" else 0)


def retrain(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train again if enough is new and worth it (drift, a weaker champion, a better probe); else report why not."""
    with session("retrain", home) as s:
        checked = recipe_of(recipe, overrides)
        from flows.cli import startup
        from flows.retrain import retrain as flow
        from tasks.networks import backend

        backend.use(checked.backend)
        with startup.up(checked):
            found = flow(str(recipe), list(overrides))
        s.show(found.summary(), as_json, lambda: output.retraining(s, found))
        raise typer.Exit(1 if found.outcome and found.outcome.verdict.decision == "keep" else 0)


def check(recipe: RecipeName, overrides: Overrides = [], home: Home = None, as_json: Json = False) -> None:  # noqa: B006
    """Ingest and validate only: is the data fit to train on?"""
    with session("check", home) as s:
        checked = recipe_of(recipe, overrides)
        from flows.cli import startup
        from flows.train import check as flow

        with startup.up(checked):
            dataset = flow(checked)
        s.show(dataset.summary(), as_json, lambda: output.dataset(s, dataset))


def compare(recipe: RecipeName, overrides: Overrides = [], home: Home = None, as_json: Json = False) -> None:  # noqa: B006
    """Does transfer help? Learning curves from pretrained and from random weights, and a verdict."""
    with session("compare", home) as s:
        checked = recipe_of(recipe, overrides)
        from flows.cli import startup
        from flows.compare import compare as flow
        from tasks.networks import backend

        backend.use(checked.backend)
        with startup.up(checked):
            found = flow(checked)
        s.show(found.summary(), as_json, lambda: output.comparison(s, found))
