"""The model card of a version, as Markdown, from the template `mlflow/model_card.md`.

Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
"""

from collections.abc import Mapping
from pathlib import Path

from tasks.records import Findings
from tasks.reports import html
from tasks.reports.sections import calibration, time_gap
from tasks.reports.sections.decision import WORDS
from tasks.reports.sections.scores import RUNGS, ends

#: In a checkout, and in an installed wheel.
PLACES = (Path(__file__).parents[2] / "mlflow" / "model_card.md", Path(__file__).with_name("model_card.md"))


def text(found: Findings, facts: Mapping[str, str]) -> str:
    """The card. `facts`: `backbone`, `photos`, `weights`, `licence of the weights`, and whatever else is known."""
    report, dataset = found.report, found.dataset
    special = ("backbone", "licence of the photos", "weights", "licence of the weights")
    return html.card(
        next(place for place in PLACES if place.is_file()),
        name=found.version.name,
        version=found.version.version,
        decision=f"{WORDS[found.verdict.decision]}: {found.verdict.reason}.",
        rung=RUNGS[found.model.rung],
        backbone=facts["backbone"],
        classes=dataset.classes,
        images=dataset.counts["test"],
        scores=[(name, f"{value:.4f}", ends(report.intervals[name])) for name, value in report.metrics.items()],
        sentences=[
            *([time_gap.sentence(report.time)] if report.time else []),
            _worst(found),
            found.transfer.sentence,
        ],
        calibration=calibration.sentences(found.calibration, report),
        data=f"{dataset.counts['train']} training images, digest {dataset.digest}",
        licence=facts["licence of the photos"],
        weights=facts["weights"],
        weights_licence=facts["licence of the weights"],
        others={name: value for name, value in facts.items() if name not in special},
    )


def _worst(found: Findings) -> str:
    if not found.report.slices:
        return "No slice of the test images was large enough to be scored separately."
    worst = found.report.slices[0]
    difference = "a significant difference" if worst.flagged else "which may be chance"
    return (
        f"Worst slice of them: {worst.column} {worst.value}, {worst.metric} {worst.gap:+.4f} against the rest "
        f"({worst.interval[0]:+.4f} to {worst.interval[1]:+.4f}), {difference}."
    )
