"""The report of a run: one HTML file with its pictures inside, no script, nothing loaded from elsewhere.

The decision comes first, then the findings behind it.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tasks.records import DatasetRef, Findings, LadderRef, ModelRef, StageLog
from tasks.reports import html, sentences
from tasks.reports.blocks import Block, Items, Picture, Text, table
from tasks.reports.sections import (
    audits,
    calibration,
    decision,
    provenance,
    ranking,
    scores,
    search,
    slices,
    time_gap,
    transfers,
)
from tasks.runtime.home import home


def write(
    to: Path,
    found: Findings,
    pictures: Mapping[str, Path],
    predictions: pd.DataFrame,
    stages: Mapping[str, StageLog],
    facts: Mapping[str, str],
) -> None:
    """Write the page. `pictures`: by the headings of sections, which may have nothing else.

    `predictions`: `label` and `predicted` of the test images; `stages`: those run before; `facts`: the model's
    provenance.
    """
    parts: dict[str, list[Block]] = {
        "Scores on the test images": scores.metrics(found.report, found.dataset.counts["test"]),
        "Ladder": scores.ladder(found.ladder) + scores.costs(found.ladder),
        "What was chosen": search.section(found.search) + search.races(found.ladder.races),
        "The newest images": time_gap.section(found.report.time),
        "Classes": scores.classes(found.report.classes),
        "Calibration and prediction sets": calibration.section(found.calibration, found.report),
        "The model": _model(found.model, found.ladder),
        "Data": _data(found.dataset),
        "Problems in the data": audits.section(found.audit, home()) if found.audit else [],
        "Which backbone": ranking.section(found.ranking),
        "Search for a head": [Text(sentences.search(found.tuned))] if found.tuned else [],
        "Did transfer help?": transfers.section(found.transfer),
        "Slices": slices.section(found.report.slices, found.model.rung, found.report.probe),
        "Confusion matrix": [Text(scores.confused(predictions))],
    }
    for heading, file in pictures.items():
        parts[heading] = [*parts.get(heading, []), Picture(heading, file)]
    parts |= {"Stages": _stages(stages), "Provenance": provenance.section(facts)}
    text = html.page(
        "report.html",
        title=f"{found.version.name} version {found.version.version}",
        decision=found.verdict.decision,
        word=decision.WORDS[found.verdict.decision],
        summary=decision.summary(found),
        first=decision.section(found.verdict),
        sections={heading: blocks for heading, blocks in parts.items() if blocks},
    )
    to.write_text(text, encoding="utf-8")


def _model(model: ModelRef, ladder: LadderRef) -> list[Block]:
    found, training = model.validation.scores, model.training
    refitted = (
        " These are of its first training. It was then trained again, for the same number of epochs, on the validation "
        "images too: it has no validation scores of its own, and its temperature and thresholds are those of the first "
        "training. The test scores are those of the network that is shipped."
    )
    said = (
        f"Chosen rung: {scores.RUNGS[model.rung]}. Validation log loss {found['log_loss']:.4f}, "
        f"accuracy {found['accuracy']:.2%}. {training.frozen_variables} variables were frozen and are "
        f"unchanged bit for bit; {training.trained_variables} were trained for {training.epochs} epochs."
    )
    return [Text(said + (refitted if model.digest != ladder.chosen.digest else ""))]


def _data(dataset: DatasetRef) -> list[Block]:
    counts = ", ".join(f"{n} {split}" for split, n in dataset.counts.items())
    said = (
        f"{counts}; {dataset.rejected} files set aside, {dataset.duplicates} exact copies left out. "
        f"{len(dataset.classes)} classes: {', '.join(dataset.classes)}. "
        f"{dataset.expectations} expectations were checked. Digest {dataset.digest}."
    )
    return [Text(said), Items(dataset.warnings)]


def _stages(stages: Mapping[str, StageLog]) -> list[Block]:
    rows = [(name, f"{log.seconds:.1f}", "taken from the cache" if log.cached else "") for name, log in stages.items()]
    total = sum(log.seconds for log in stages.values())
    return [Text(f"{total:.0f} seconds in total."), table({"stage": False, "seconds": True, "": False}, rows)]
