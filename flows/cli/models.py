"""Commands for registered versions: list, promote, roll back, verify, export, predict, score."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json, Model, Overrides, RecipeName, Why, recipe_of
from flows.cli.session import Session, session
from tasks.runtime import escapes

if TYPE_CHECKING:
    from tasks.records import LedgerEntry


def models(
    name: Annotated[str | None, typer.Argument(help="A registered model; all when left out")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Versions in the registry: aliases, gate results, data; with NAME also the ledger of its champions."""
    with session("models", home) as s:
        from tasks.services.registry import promotion

        found = promotion.overview(name)
        ledger = promotion.history(name) if name and found and not as_json else []
        s.show(found, as_json, lambda: output.versions(s, name, found, ledger))


def promote(
    name: Annotated[str, typer.Argument(help="A registered model")],
    version: Annotated[str, typer.Argument(help="The version's number")],
    why: Why = "",
    force: Annotated[bool, typer.Option("--force", help="Even if it was compared with another champion")] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Copy it to this environment, such as prod, if its gates pass there"),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Verify a version and make it the champion; the old champion becomes `previous`."""
    with session("promote", home) as s:
        from tasks.services.registry import promotion

        if to is not None:
            from tasks.services import environments

            copied = environments.promote(name, version, to, why, force)
            s.show(copied.summary(), as_json, lambda: output.copied(s, copied))
            return
        entry = promotion.promote(name, version, why, force)
        _moved(s, entry, f"{name} version {version} is the champion already.", as_json)


def rollback(
    name: Annotated[str, typer.Argument(help="A registered model")],
    why: Why = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make `previous` the champion again; a second rollback undoes the first."""
    with session("rollback", home) as s:
        from tasks.services.registry import promotion

        _moved(s, promotion.rollback(name, why), "", as_json)


def testset(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    fresh: Annotated[bool, typer.Option("--fresh", help="Have the next run draw fresh test images")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """How often decisions have used a model's test images, and what fresh ones cost."""
    with session("testset", home) as s:
        checked = recipe_of(recipe, overrides)
        from tasks.services.registry import test_sets

        found = test_sets.draw(checked) if fresh else test_sets.look(checked)
        s.show(found.summary(), as_json, lambda: s.say("\n".join(found.sentences)))


def verify(
    model: Annotated[
        str | None, typer.Argument(help="As elsewhere; all versions when left out", metavar="MODEL")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check that a version's files are as registered, and that it answers its golden images the same way here."""
    with session("verify", home) as s:
        from tasks.services.registry import promotion

        every = promotion.verify_all() if model is None else [promotion.verify(model)]
        s.show(every[0] if model else every, as_json, lambda: output.verified(s, every))
        if any(each["ledger_problems"] for each in every):
            raise typer.Exit(1)


def export(
    model: Model,
    format: Annotated[str, typer.Option("--format", help="saved_model, onnx, openvino or tflite")],
    to: Annotated[Path | None, typer.Option("--to", help="A new folder [default: NAME-VERSION-FORMAT, here]")] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="openvino in 8-bit integers, if it answers the test photos about as well")
    ] = False,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            min=0.001,
            max=0.5,
            help="By how much INT8's accuracy may be lower [default: 0.02]; with more, log loss and novelty may change "
            "as many times more",
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Export a version for another runtime, and check the export's answers for the version's golden images."""
    with session("export", home) as s:
        from tasks.runtime.errors import UsageError
        from tasks.services.registry.export import export as written
        from tasks.serving.int8 import MARGIN

        if margin is not None and not int8:
            raise UsageError("--margin: expected --int8 beside it, found none.")
        found = written(model, format, to, (margin or MARGIN) if int8 else None)
        s.show(found, as_json, lambda: output.exported(s, found))


def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Image files", metavar="IMAGE...")],
    explain: Annotated[
        str | None, typer.Option("--explain", help="A folder for pictures of what each answer rests on")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Predict label and probability of images with a registered version."""
    with session("predict", home) as s:
        from tasks.services.registry.predict import answers

        # One line per image, as soon as it is known.
        for answer in answers(model, images, explain):
            label, image = escapes.line(answer["label"]), escapes.line(answer["image"])
            drawn = f"\t{escapes.line(answer['explained'])}" if "explained" in answer else ""
            row = f"{label}\t{answer['probability']:.6f}\t{image}{drawn}"
            print(json.dumps(answer) if as_json else row, file=s.out)


def score(
    model: Model,
    source: Annotated[
        str,
        typer.Argument(help="A folder, a photo, a table with a column image, or a recipe", metavar="SOURCE"),
    ],
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write a registered version's predictions for a whole source to a Parquet file; a killed run can continue."""
    with session("score", home) as s:
        from flows.cli import startup
        from flows.score import of_words
        from flows.score import score as flow
        from tasks.runtime.errors import UsageError

        if out.is_dir():
            raise UsageError(f"--out: expected the name of a Parquet file, found the folder {out}.")
        with startup.up():
            found = flow(model, of_words(source), out)
        s.show(found.summary() | {"out": str(out)}, as_json, lambda: output.scores(s, found, out))


def _moved(s: Session, entry: "LedgerEntry | None", otherwise: str, as_json: bool) -> None:
    found = entry.summary() if entry else {"action": "none", "why": otherwise}
    s.show(found, as_json, lambda: output.moved(s, entry, otherwise))
