"""What commands print for people, on standard output."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.session import Session
from tasks.runtime.escapes import printable

if TYPE_CHECKING:
    from flows.recipes.draft import Draft
    from tasks.records import Comparison, DatasetRef, LedgerEntry, Outcome, Retraining, ScoresRef
    from tasks.services.environments import Copied


def listed(s: Session, title: str, rows: list[dict[str, Any]]) -> None:
    """A table of rows, or a line if there are none."""
    if rows:
        _table(s, title, rows)
    else:
        s.note(f"{title}: none.")


#: Classes that are listed one by one.
SHOWN = 30


def drafted(s: Session, found: "Draft") -> None:
    """What a first look found, and the recipe that was written from it."""
    by_size = sorted(found.found.classes.items(), key=lambda item: -item[1])
    s.say(f"{found.title}.")
    if by_size:
        _table(s, "Classes", [{"class": label, "images": n} for label, n in by_size[:SHOWN]])
    if len(by_size) > SHOWN:
        s.say(f"… and {len(by_size) - SHOWN} smaller classes; the smallest, {by_size[-1][0]}, has {by_size[-1][1]}.")
    for text in found.sentences:
        s.say(text)
    s.say(f"Recipe: {found.file}. Now its data are checked.")


def checked(s: Session, found: "DatasetRef", following: str) -> None:
    """The result of the data checks, and the next command."""
    dataset(s, found)
    s.say(f"Next: {following}", style="bold")


def outcome(s: Session, found: "Outcome") -> None:
    """A training run: stages, scores, findings in the data, and the verdict."""
    from tasks.reports import sentences
    from tasks.reports.sections import time_gap

    summary = found.summary()
    stages = [
        {"stage": name, "seconds": f"{log['seconds']:.1f}", "cached": log["cached"]}
        for name, log in summary["stages"].items()
    ]
    _table(s, "Stages", stages)
    _ranking(s, found)
    if found.tuned:
        s.say(f"Search: {sentences.search(found.tuned)}")
    _scores(s, summary)
    if found.report.time:
        s.say(f"Time: {time_gap.sentence(found.report.time)}")
    if worst := summary["slices"]["worst"]:
        low, high = worst["interval"]
        judged = summary["slices"]["judged"]
        which = f"Worst of {judged} slices" if judged > 1 else "The only slice"
        s.say(
            f"{which}: {worst['column']} {worst['value']}, {worst['metric']} "
            f"{worst['gap']:+.4f} against the rest ({low:+.4f} to {high:+.4f})"
            f"{', flagged' if worst['flagged'] else ''}"
        )
    s.say(f"Transfer: {found.transfer.sentence}")
    _audit(s, found, summary)
    _data(s, summary)
    s.say(f"Report: {summary['report']}\nLog: {s.log}")
    s.say(
        f"{summary['model']} version {summary['version']} ({', '.join(summary['aliases'])}): "
        f"{found.verdict.decision}. {found.verdict.reason}.",
        style="bold green" if found.verdict.decision == "promote" else "bold yellow",
    )
    if found.version.note:
        s.say(f"Version {summary['version']} {found.version.note}")
    s.say(f"Verdict in {found.seconds:.0f} s.")


def retraining(s: Session, found: "Retraining") -> None:
    """A data check, and the training run that it led to."""
    if found.outcome:
        outcome(s, found.outcome)
    s.say(f"{found.decision}: {found.reason}.")


def dataset(s: Session, found: "DatasetRef") -> None:
    """The result of the data checks."""
    held = found.expectations - len(found.warnings)
    s.say(f"{held} of {found.expectations} expectations hold; the rest are warnings.")
    _data(s, found.summary())


def comparison(s: Session, found: "Comparison") -> None:
    """Learning curves, what transfer gains, and the verdict."""
    from tasks.reports.sections import transfers

    curves, gains = transfers.tables(found.curves)
    _table(s, "Learning curves, on the validation images", curves)
    if gains:
        _table(s, "What transfer gains, in points of accuracy", gains)
    summary = found.summary()
    for text in summary["notes"]:
        s.say(f"Note: {text}")
    s.say(f"Table: {summary['table']}\nFigure: {summary['figure']}")
    s.say(summary["verdict"], style="bold")


def versions(s: Session, name: str | None, found: list[dict[str, Any]], ledger: list[dict[str, Any]]) -> None:
    """Versions in the registry, their notes, and the ledger of one model."""
    if not found:
        s.note(f"No registered model{f' named {name}' if name else ''} yet. Run headstart train RECIPE.")
        return
    brief = ("model", "version", "aliases", "gate", "backbone", "rung", "made")
    _table(s, "Registered models", [{column: row[column] for column in brief} for row in found])
    for row in found:
        if row["note"]:
            s.say(f"{row['model']} version {row['version']} {row['note']}")
    _ledger_problems(s, found)
    if ledger:
        _table(s, "Ledger", ledger)


def verified(s: Session, every: list[dict[str, Any]]) -> None:
    """That versions are as they were registered, and what is wrong with the ledgers of their models."""
    for found in every:
        s.say(
            f"{found['model']} version {found['version']} is as it was registered: every file is the same, and the "
            f"answers for {found['images']} golden images differ by at most {found['largest_difference']:.1e}."
            f"{' Its signature is valid.' * found['signature_checked']}"
        )
    _ledger_problems(s, every)
    if not every:
        s.say("There are no versions.")


def pruned(s: Session, found: list[dict[str, Any]]) -> None:
    """What a home holds of each kind, and what goes."""
    brief = ("kind", "count", "bytes", "drop_count", "drop_bytes", "deleted")
    listed(s, "Kept in this home", [{column: row[column] for column in brief} for row in found])
    for row in found:
        if row["kind"] == "tables":
            for name in row["names"]:
                s.say(f"Table that no registered version needs: {name}")


def moved(s: Session, entry: "LedgerEntry | None", otherwise: str) -> None:
    """What a promotion or rollback did; `otherwise` if there was nothing to do."""
    if entry is None:
        s.say(otherwise)
        return
    before = f"before, it was version {entry.before}" if entry.before else "before, there was none"
    s.say(f"Version {entry.after} is the champion; {before}. Entry {entry.number} of the ledger.")


def copied(s: Session, found: "Copied") -> None:
    """What became of a version in another environment."""
    s.say(f"{found.model} version {found.version} is a copy of {found.copy_of}. The gates say {found.decision}.")
    s.say(found.reason)
    if found.champion:
        s.say(f"It is the champion of {found.model}.")
    else:
        s.say(f"It is not the champion yet: {found.note or f'headstart promote {found.model} {found.version}'}.")


def scores(s: Session, found: "ScoresRef", out: Path) -> None:
    """A version's predictions for a source: counts, drift, and where the table is."""
    rows = [{"label": name, "images": n, "share": f"{n / max(found.images, 1):.1%}"} for name, n in found.said.items()]
    _table(s, f"{found.model} version {found.version}", rows)
    rate = f", {found.computed / found.seconds:.0f} per second" if found.computed else ""
    abstained = "" if found.abstained is None else f"; {found.abstained} abstentions"
    novel = "" if found.novel is None else f", {found.novel} novel"
    s.say(
        f"{found.images} images: {found.computed} predicted now{rate}, {found.images - found.computed} before"
        f"{abstained}{novel}; not readable as images: {found.unreadable}."
    )
    for sentence in found.drift:
        s.say(sentence)
    s.say(f"Table: {out.absolute()}")


def corrected(s: Session, recipe: str, changes: list[dict[str, Any]]) -> None:
    """Labels that a person has corrected or restored."""
    if not changes:
        s.note("Nothing to change: the labels already have these values.")
        return
    _table(s, f"Changed labels of {recipe}", changes)
    test = sum(change["split"] == "test" for change in changes)
    if test:
        s.say(f"{test} of them are test images: scores of earlier and later versions are not comparable.")
    s.say(f"The next run of {recipe} uses them.")


def _ledger_problems(s: Session, found: list[dict[str, Any]]) -> None:
    for text in dict.fromkeys(text for row in found for text in row["ledger_problems"]):
        s.say(text, style="bold red")


def _table(s: Session, title: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left", title_style="italic")
    for column in rows[0]:
        table.add_column(Text(printable(column.replace("_", " "))), overflow="fold")
    for row in rows:
        table.add_row(
            *(
                Text("yes" if value is True else "no" if value is False else printable(str(value)))
                for value in row.values()
            )
        )
    s.answers.print(table)


def exported(s: Session, found: dict[str, Any]) -> None:
    """What an export has written, and what INT8 costs and loses."""
    s.say(
        f"{found['model']} version {found['version']} as {found['format']} is in {found['folder']}; its answers differ "
        f"from the version's by at most {found['largest_difference']:.1e}{' before INT8' if 'int8' in found else ''}."
    )
    if not (int8 := found.get("int8")):
        return
    forms = {"accuracy": ".4f", "log_loss": ".4f", "novel": ".4f", "milliseconds": ".2f", "megabytes": ".1f"}
    rows = [
        {"": name.replace("_", " ")}
        | {kind: f"{int8[name][kind]:{form}}" for kind in ("float32", "int8")}
        | {"change, 95 % interval": _change(int8[name]) if "low" in int8[name] else ""}
        for name, form in forms.items()
        if name in int8
    ]
    _table(s, f"INT8 beside float32, on {int8['photos']:,} test photos", rows)


def _change(found: dict[str, float]) -> str:
    return f"{found['change']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"


def _scores(s: Session, summary: dict[str, Any]) -> None:
    """Each metric with its interval; where images are alike also with the one as if each stood alone."""
    alone, grouped = summary["intervals_by_images"], summary["intervals"]
    each = {", by images": alone, ", by groups": grouped} if alone else {"": grouped}
    rows = [
        {"metric": name, "value": f"{value:.4f}"}
        | {f"95 % interval{by}": "{:.4f} to {:.4f}".format(*ends[name]) for by, ends in each.items()}
        for name, value in summary["metrics"].items()
    ]
    independent = f", {summary['independent_images']} independent" if alone else ""
    _table(s, f"{summary['images']['test']} test images{independent}", rows)


def _audit(s: Session, found: "Outcome", summary: dict[str, Any]) -> None:
    audit = found.audit
    if audit is None or not audit.path:
        return
    flagged = ", ".join(f"{one.facts} {one.score:.2f}" for one in audit.shortcuts if one.flagged) or "none"
    s.say(
        f"Data: {audit.copied['test']} test images have a copy in another split; {sum(audit.suspected.values())} label "
        f"suspects; shortcuts (balanced accuracy): {flagged}. Tables: {summary['audit']['duplicates_table']}, "
        f"{summary['audit']['suspects_table']}"
    )


def _ranking(s: Session, found: "Outcome") -> None:
    from tasks.reports.sections import ranking, search

    if found.search:
        s.say(search.sentence(found.search))
        if found.search.trials:
            _table(s, "What was tried for the features", search.trials(found.search))
    for race in found.ladder.races:
        s.say(search.race(race))
        _table(s, f"What was tried for {race.rung}", search.trials(race))
    if found.ranking:
        _table(s, "Backbones, the most promising first", ranking.candidates(found.ranking))
    if found.agreement and found.agreement.spearman is not None:
        _table(s, "Predicted and actual results", ranking.agreement(found.agreement))
        s.say(f"Spearman's rank correlation with the validation log loss: {found.agreement.spearman:.2f}")


def _data(s: Session, summary: dict[str, Any]) -> None:
    counts = ", ".join(f"{n} {split}" for split, n in summary["images"].items())
    s.say(f"Images: {counts}")
    if summary["corrected_labels"]:
        s.say(f"Labels corrected by hand: {summary['corrected_labels']} (headstart labels list)")
    for text in summary["warnings"]:
        s.say(f"Warning: {text}")
    s.say(f"Data Docs: {summary['data_docs']}")
