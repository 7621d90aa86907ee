"""The command `headstart`. Heavy libraries are imported inside the commands that need them."""

import gc
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.session import Session, session

if TYPE_CHECKING:
    from tasks.records import Comparison, LedgerEntry, Outcome, ScoresRef
    from tasks.settings import Recipe

app = typer.Typer(
    help="Transfer learning for image classifiers: photos in, a registered and judged model out.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

tables = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(tables, name="store")
labels = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Labels that a person puts right.")
app.add_typer(labels, name="labels")

RecipeName = Annotated[
    str, typer.Argument(help="A shipped recipe's name, or the path of a TOML file", metavar="RECIPE")
]
Overrides = Annotated[list[str], typer.Option("--set", help="Override a setting: head.options.units=256; repeatable")]
Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of all state [default: HEADSTART_HOME or .headstart]")
]
Table = Annotated[Path, typer.Argument(help="label_suspects.csv of an audit, its column corrected filled in")]
Model = Annotated[str, typer.Argument(help="NAME@alias, NAME/version, or NAME for its champion", metavar="MODEL")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the ledger")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output")]


def main() -> None:
    """Entry point of the command."""
    # Libraries make objects by the hundred thousand that stay; collections that begin at each 700th look at them for a
    # sixth of the time that a command with nothing new takes. flows/cli/startup.py sets back what is usual.
    gc.set_threshold(50_000)
    app()


@app.command()
def train(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006 - Typer reads the default, nobody changes it
    refresh: Annotated[bool, typer.Option("--refresh", help="Compute every stage again")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a recipe: validate, preprocess, extract, train, evaluate, gate, register."""
    with session("train", home) as s:
        checked = _recipe(recipe, overrides)
        from flows.cli import startup
        from flows.train import train as flow
        from tasks.networks import backend
        from tasks.services.orchestration.stage import refreshing

        backend.use(checked.backend)  # before TensorFlow, which imports Keras
        with startup.up(checked), refreshing(refresh):
            outcome = flow(checked)
        if as_json:
            print(json.dumps(outcome.summary()), file=s.out)
        else:
            _show(s, outcome)
        raise typer.Exit(1 if outcome.verdict.decision == "keep" else 0)


@app.command()
def retrain(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train again where enough is new and it pays: drift, a weaker champion, a probe that gains; else say why not."""
    with session("retrain", home) as s:
        checked = _recipe(recipe, overrides)
        from flows.cli import startup
        from flows.retrain import retrain as flow
        from tasks.networks import backend

        backend.use(checked.backend)
        with startup.up(checked):
            found = flow(str(recipe), list(overrides))
        if as_json:
            print(json.dumps(found.summary()), file=s.out)
        elif found.outcome:
            _show(s, found.outcome)
        if not as_json:
            s.answers.print(f"{found.decision}: {found.reason}.", markup=False, soft_wrap=True)
        raise typer.Exit(1 if found.outcome and found.outcome.verdict.decision == "keep" else 0)


@app.command()
def check(recipe: RecipeName, overrides: Overrides = [], home: Home = None, as_json: Json = False) -> None:  # noqa: B006
    """Ingest and validate only: is the data fit to train on?"""
    with session("check", home) as s:
        checked = _recipe(recipe, overrides)
        from flows.cli import startup
        from flows.train import check as flow

        with startup.up(checked):
            dataset = flow(checked)
        summary = dataset.summary()
        if as_json:
            print(json.dumps(summary), file=s.out)
            return
        held = dataset.expectations - len(dataset.warnings)
        s.answers.print(f"{held} of {dataset.expectations} expectations hold; the rest are warnings.")
        _show_data(s, summary)


@app.command()
def compare(recipe: RecipeName, overrides: Overrides = [], home: Home = None, as_json: Json = False) -> None:  # noqa: B006
    """Does transfer help? Learning curves from pretrained and from random weights, and a verdict."""
    with session("compare", home) as s:
        checked = _recipe(recipe, overrides)
        from flows.cli import startup
        from flows.compare import compare as flow
        from tasks.networks import backend

        backend.use(checked.backend)
        with startup.up(checked):
            found = flow(checked)
        if as_json:
            print(json.dumps(found.summary()), file=s.out)
        else:
            _show_comparison(s, found)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="A registered model; all when left out")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Versions in the registry: aliases, gate results, data; with NAME also the ledger of its champions."""
    with session("models", home) as s:
        from tasks.services.registry import promotion

        found = promotion.overview(name)
        if as_json:
            print(json.dumps(found), file=s.out)
        elif found:
            brief = ("model", "version", "aliases", "gate", "backbone", "rung", "made")
            _table(s, "Registered models", [{column: row[column] for column in brief} for row in found])
            for row in found:
                if row["note"]:
                    s.answers.print(f"{row['model']} version {row['version']} {row['note']}", markup=False)
            if name and (entries := promotion.history(name)):
                _table(s, "Ledger", entries)
        else:
            s.console.print(
                f"No registered model{f' named {name}' if name else ''} yet: headstart train RECIPE makes one."
            )


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="A registered model")],
    version: Annotated[str, typer.Argument(help="The number of one of its versions")],
    why: Why = "",
    force: Annotated[bool, typer.Option("--force", help="Whichever champion it was compared with")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a version the champion, after it has shown its fingerprint; the champion becomes `previous`."""
    with session("promote", home) as s:
        from tasks.services.registry import promotion

        entry = promotion.promote(name, version, why, force)
        _moved(s, entry, f"{name} version {version} is the champion already.", as_json)


@app.command()
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


@app.command()
def verify(model: Model, home: Home = None, as_json: Json = False) -> None:
    """Does a version have its fingerprint, on this machine: every file, and the answers for its golden images?"""
    with session("verify", home) as s:
        from tasks.services.registry import promotion

        found = promotion.verify(model)
        if as_json:
            print(json.dumps(found), file=s.out)
            return
        s.answers.print(
            f"{found['model']} version {found['version']} is as it was registered: every file is the same, and "
            f"{found['images']} golden images are answered to within {found['largest_difference']:.1e}.",
            markup=False,
            soft_wrap=True,
        )


@app.command()
def export(
    model: Model,
    format: Annotated[str, typer.Option("--format", help="saved_model, onnx, openvino or tflite")],
    to: Annotated[Path | None, typer.Option("--to", help="A new folder [default: NAME-VERSION-FORMAT, here]")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take a version along: as files for another runtime, which answer its golden images as it does."""
    with session("export", home) as s:
        from tasks.services.registry.export import export as written

        found = written(model, format, to)
        if as_json:
            print(json.dumps(found), file=s.out)
            return
        s.answers.print(
            f"{found['model']} version {found['version']} as {format} is in {found['folder']}; its answers differ from "
            f"the version's by {found['largest_difference']:.1e} at most.",
            markup=False,
            soft_wrap=True,
        )


@app.command()
def serve(
    recipes: Annotated[list[str] | None, typer.Argument(help="Recipes to retrain", metavar="[RECIPE]...")] = None,
    overrides: Overrides = [],  # noqa: B006
    cron: Annotated[str | None, typer.Option("--cron", help='When to retrain, such as "0 3 * * *"')] = None,
    watch: Annotated[
        float | None, typer.Option("--watch", help="Look for new files every so many seconds [default: never]")
    ] = None,
    home: Home = None,
) -> None:
    """Serve retraining on a schedule and on new data, promotion, rollback and scoring, until interrupted.

    On the Prefect server that PREFECT_API_URL names; where it names none, on one that is started for it.
    """
    with session("serve", home) as s:
        from flows.deployments import servers

        with servers.prefect() as address:
            from prefect import serve as until_interrupted

            from flows.deployments import alerts
            from flows.deployments.definitions import everything

            found = everything(recipes or [], overrides, cron, watch)
            s.console.print(f"Prefect: {address}/deployments", soft_wrap=True)
            s.console.print(f"MLflow: {servers.tracking_address()}", soft_wrap=True)
            for each in found:
                s.console.print(f"{each.flow_name}/{each.name} is served", soft_wrap=True)
            if hook := os.environ.get(alerts.VARIABLE):
                for name in alerts.install(hook):
                    s.console.print(f"Alert: {name}", markup=False)
            until_interrupted(*found, print_starting_message=False)


@app.command()
def notify(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    why: Why = "new data was announced",
    home: Home = None,
) -> None:
    """Say that a recipe's data have changed: its deployment answers with a run of `retrain`."""
    with session("notify", home) as s:
        checked = _recipe(recipe, overrides)
        _server_is_named()
        from tasks.services.orchestration import events

        events.announce(checked.name, why)
        s.answers.print(f"Announced: the data of {checked.name} have changed.", markup=False)


@app.command()
def alerts(home: Home = None) -> None:
    """Have the Prefect server call the webhook HEADSTART_WEBHOOK when a run fails or a verdict is undecided."""
    with session("alerts", home) as s:
        _server_is_named()
        from flows.deployments import alerts
        from tasks.runtime.errors import UsageError

        if not (address := os.environ.get(alerts.VARIABLE)):
            raise UsageError(f"Expected {alerts.VARIABLE} to hold the address of a webhook, found none.")
        for name in alerts.install(address):
            s.answers.print(f"Alert: {name}", markup=False)


@app.command()
def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Image files", metavar="IMAGE...")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Label and probability of images, by a registered version."""
    with session("predict", home) as s:
        from tasks.services.registry import versions

        for answer in versions.answers(model, images):
            if as_json:
                print(json.dumps(answer), file=s.out)
            else:
                print(f"{answer['label']}\t{answer['probability']:.6f}\t{answer['image']}", file=s.out)


@app.command()
def score(
    model: Model,
    source: Annotated[
        str,
        typer.Argument(help="A folder, a CSV or Parquet table, or a recipe, whose source is taken", metavar="SOURCE"),
    ],
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What a registered version says of every image of a source, as a Parquet file; a killed run goes on."""
    with session("score", home) as s:
        from flows.cli import startup
        from flows.score import of_words
        from flows.score import score as flow

        with startup.up():
            found = flow(model, of_words(source), out)
        if as_json:
            print(json.dumps(found.summary() | {"out": str(out)}), file=s.out)
        else:
            _show_scores(s, found, out)


@app.command()
def backbones(home: Home = None, as_json: Json = False) -> None:
    """Pretrained networks, and whether their weights are here."""
    from tasks.runtime import plugins

    with session("backbones", home) as s:
        found = [
            {
                "backbone": name,
                "options": _options(choice.options),
                "parameters": f"{choice.parameters / 1e6:.1f} M" if choice.parameters else "any",
                "pixels": choice.size or "any",
                "weights": choice.weights,
            }
            for name in plugins.names("backbones")
            for choice in plugins.load("backbones", name).choices()
        ]
        _list(s, "Backbones", found, as_json)


@app.command()
def heads(home: Home = None, as_json: Json = False) -> None:
    """New last layers."""
    _plugins("heads", home, as_json)


@app.command()
def sources(home: Home = None, as_json: Json = False) -> None:
    """Where photos can come from."""
    _plugins("sources", home, as_json)


@app.command()
def gates(home: Home = None, as_json: Json = False) -> None:
    """Conditions that a model can be asked to meet."""
    _plugins("gates", home, as_json)


@tables.callback()
def store(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """Tables of prepared images and features: rows and bytes."""
    if context.invoked_subcommand is None:
        with session("store", home) as s:
            from tasks.runtime.store import tables

            _list(s, "Tables", tables.tables(), as_json)


@tables.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would be deleted")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Drop the tables that no registered version was trained from."""
    with session("store-prune", home) as s:
        from tasks.runtime.store import tables
        from tasks.services.registry import versions

        used = versions.tables_in_use()
        found = [table | {"deleted": yes} for table in tables.tables() if table["table"] not in used]
        for table in found if yes else []:
            tables.drop(table["table"])
        _list(s, "Tables that no registered version was trained from", found, as_json)
        if found and not yes and not as_json:
            s.console.print("Nothing was deleted: headstart store prune --yes does it.")


@labels.command("suspects")
def suspects(
    name: Annotated[str, typer.Argument(help="A recipe's name", metavar="NAME")],
    to: Annotated[Path, typer.Option("--to", help="The CSV file to write")] = Path("label_suspects.csv"),
    home: Home = None,
) -> None:
    """Fetch the labels that the newest audit doubts, to fill in the column corrected."""
    with session("labels-suspects", home) as s:
        from tasks.runtime.errors import UsageError
        from tasks.services import tracking

        if not tracking.last(name, "audit", "label_suspects.csv", to):
            raise UsageError(f"Expected a run of {name!r} with an audit, found none: headstart train RECIPE makes one.")
        s.answers.print(f"{to}: fill in the column corrected where you are sure, then headstart labels apply {to}")


@labels.command("apply")
def apply_labels(file: Table, home: Home = None, as_json: Json = False) -> None:
    """Keep corrected labels: the recipe's next run uses them. The source's files stay as they are."""
    with session("labels-apply", home) as s:
        from tasks.data import corrections

        _show_labels(s, *corrections.apply(file), as_json)


@labels.command("undo")
def undo_labels(file: Table, home: Home = None, as_json: Json = False) -> None:
    """Take back the corrections of the images that the table fills in: the source's labels count again."""
    with session("labels-undo", home) as s:
        from tasks.data import corrections

        _show_labels(s, *corrections.undo(file), as_json)


@labels.command("list")
def list_labels(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name; all when left out")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Labels that differ from the source's."""
    with session("labels-list", home) as s:
        from tasks.data import corrections

        names = [recipe] if recipe else corrections.recipes()
        _list(s, "Corrected labels", [{"recipe": n} | row for n in names for row in corrections.kept(n)], as_json)


@app.command()
def engines(home: Home = None, as_json: Json = False) -> None:
    """Ways to run a frozen network."""
    _plugins("engines", home, as_json)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="First close what processes that were killed left")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What works here: versions, weights, servers, disk, cores."""
    with session("doctor", home) as s:
        from tasks.services import health

        if repair:
            _repair()
        found = health.checks()
        _list(s, "This machine", found, as_json)
        raise typer.Exit(0 if all(row["ok"] for row in found) else 3)


def _repair() -> None:
    from flows.cli import startup
    from tasks.services.registry import promotion, versions

    with startup.up():
        for name in versions.names():
            promotion.repair(name)


def _server_is_named() -> None:
    """A server that a command starts for itself hears nothing and tells nobody."""
    from tasks.runtime.errors import UsageError

    if not os.environ.get("PREFECT_API_URL"):
        raise UsageError("Expected PREFECT_API_URL to name the Prefect server of headstart serve, found none.")


def _recipe(recipe: str, overrides: list[str]) -> "Recipe":
    from flows.recipes import find
    from tasks import settings

    return settings.load(find(recipe), tuple(overrides))


def _plugins(kind: str, home: Path | None, as_json: bool) -> None:
    from tasks.runtime import plugins

    with session(kind, home) as s:
        _list(s, kind.capitalize(), plugins.describe(kind), as_json)


def _show_scores(s: Session, found: "ScoresRef", out: Path) -> None:
    rows = [{"label": name, "images": n, "share": f"{n / max(found.images, 1):.1%}"} for name, n in found.said.items()]
    _table(s, f"{found.model} version {found.version}", rows)
    rate = f", {found.computed / found.seconds:.0f} a second" if found.computed else ""
    novel = "" if found.novel is None else f", {found.novel} called new"
    s.answers.print(
        f"{found.images} images: {found.computed} answered now{rate}, {found.images - found.computed} before; "
        f"{found.abstained} abstained from{novel}; {found.unreadable} files are no readable image.",
        soft_wrap=True,
    )
    for sentence in found.drift:
        s.answers.print(sentence, markup=False, soft_wrap=True)
    s.answers.print(f"Table: {out.absolute()}", markup=False, soft_wrap=True)


def _show_labels(s: Session, recipe: str, changes: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"recipe": recipe, "changes": changes}), file=s.out)
        return
    if not changes:
        s.console.print("Nothing to change: the labels are so already.")
        return
    _table(s, f"Labels of {recipe} that change", changes)
    test = sum(change["split"] == "test" for change in changes)
    if test:
        s.answers.print(f"{test} of them are test images: scores of earlier versions do not compare with later ones.")
    s.answers.print(f"The next run of {recipe} uses them.", markup=False)


def _moved(s: Session, entry: "LedgerEntry | None", otherwise: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(entry.summary() if entry else {"action": "none", "why": otherwise}), file=s.out)
    elif entry is None:
        s.answers.print(otherwise, markup=False, soft_wrap=True)
    else:
        before = f"version {entry.before} was it before" if entry.before else "there was none before"
        s.answers.print(
            f"Version {entry.after} is the champion; {before}. Entry {entry.number} of the ledger.", soft_wrap=True
        )


def _list(s: Session, title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows), file=s.out)
    elif rows:
        _table(s, title, rows)
    else:
        s.console.print(f"{title}: none.")


def _table(s: Session, title: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(
            *(Text("yes" if value is True else "no" if value is False else str(value)) for value in row.values())
        )
    s.answers.print(table)


def _show(s: Session, outcome: "Outcome") -> None:
    scores = outcome.summary()
    stages = [
        {"stage": name, "seconds": f"{log['seconds']:.1f}", "cached": log["cached"]}
        for name, log in scores["stages"].items()
    ]
    _table(s, "Stages", stages)
    _show_ranking(s, outcome)
    if outcome.tuned:
        s.answers.print(f"Search: {outcome.tuned.sentence}", markup=False, soft_wrap=True)
    metrics = [
        {
            "metric": name,
            "value": f"{value:.4f}",
            "95 % interval": "{:.4f} to {:.4f}".format(*scores["intervals"][name]),
        }
        for name, value in scores["metrics"].items()
    ]
    _table(s, "Test images", metrics)
    if worst := scores["slices"]["worst"]:
        low, high = worst["interval"]
        s.answers.print(
            f"Worst of {scores['slices']['judged']} slices: {worst['column']} {worst['value']}, {worst['metric']} "
            f"{worst['gap']:+.4f} against the rest ({low:+.4f} to {high:+.4f})"
            f"{', flagged' if worst['flagged'] else ''}",
            markup=False,
            soft_wrap=True,
        )
    s.answers.print(f"Transfer: {outcome.transfer.sentence}", markup=False, soft_wrap=True)
    _show_audit(s, outcome)
    promoted = outcome.verdict.decision == "promote"
    _show_data(s, scores)
    s.answers.print(f"Report: {scores['report']}\nLog: {s.log}", soft_wrap=True, markup=False)
    s.answers.print(
        f"{scores['model']} version {scores['version']} ({', '.join(scores['aliases'])}): "
        f"{outcome.verdict.decision}. {outcome.verdict.reason}.",
        style="bold green" if promoted else "bold yellow",
        markup=False,
        soft_wrap=True,
    )
    if outcome.version.note:
        s.answers.print(f"Version {scores['version']} {outcome.version.note}", markup=False, soft_wrap=True)
    s.answers.print(f"Verdict in {outcome.seconds:.0f} s.")


def _show_audit(s: Session, outcome: "Outcome") -> None:
    found = outcome.audit
    if found is None or not found.path:
        return
    told = ", ".join(f"{one.facts} {one.score:.2f}" for one in found.shortcuts if one.flagged) or "none"
    s.answers.print(
        f"Data: {found.copied['test']} test images have a copy in another split; {sum(found.suspected.values())} label "
        f"suspects; shortcuts (balanced accuracy): {told}. Tables: {outcome.summary()['audit']['duplicates_table']}, "
        f"{outcome.summary()['audit']['suspects_table']}",
        markup=False,
        soft_wrap=True,
    )


def _show_ranking(s: Session, outcome: "Outcome") -> None:
    if outcome.ranking:
        _table(s, "Backbones, from the most promising on", outcome.ranking.table())
    if outcome.agreement and outcome.agreement.spearman is not None:
        _table(s, "Predicted against what came out", outcome.agreement.table())
        s.answers.print(f"Spearman's rank correlation with the validation log loss: {outcome.agreement.spearman:.2f}")


def _show_comparison(s: Session, found: "Comparison") -> None:
    curves, gains = found.tables()
    _table(s, "Learning curves, on the validation images", curves)
    if gains:
        _table(s, "What transfer gains, in points of accuracy", gains)
    summary = found.summary()
    for text in summary["notes"]:
        s.answers.print(f"Note: {text}", markup=False, soft_wrap=True)
    s.answers.print(f"Table: {summary['table']}\nFigure: {summary['figure']}", soft_wrap=True, markup=False)
    s.answers.print(summary["verdict"], style="bold", markup=False, soft_wrap=True)


def _show_data(s: Session, summary: dict[str, Any]) -> None:
    counts = ", ".join(f"{n} {split}" for split, n in summary["images"].items())
    s.answers.print(f"Images: {counts}")
    if summary["corrected_labels"]:
        s.answers.print(f"Labels that a person has corrected: {summary['corrected_labels']} (headstart labels list)")
    for text in summary["warnings"]:
        s.answers.print(f"Warning: {text}", markup=False, soft_wrap=True)
    s.answers.print(f"Data Docs: {summary['data_docs']}", soft_wrap=True, markup=False)


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())
