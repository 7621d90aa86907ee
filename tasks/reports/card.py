"""The model card of a version, as Markdown, from the template `mlflow/model_card.md`.

Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Template

from tasks.records import Findings
from tasks.reports.sections import calibration, time_gap
from tasks.reports.sections.decision import WORDS
from tasks.reports.sections.scores import RUNGS
from tasks.runtime.escapes import markdown

#: In a checkout, and in an installed wheel.
PLACES = (Path(__file__).parents[2] / "mlflow" / "model_card.md", Path(__file__).with_name("model_card.md"))


def text(found: Findings, facts: Mapping[str, str]) -> str:
    """The card. `facts`: `backbone`, `photos`, `weights`, `licence of the weights`, and whatever else is known."""
    report, dataset = found.report, found.dataset
    scores = [
        f"| {name} | {value:.4f} | {report.intervals[name][0]:.4f} to {report.intervals[name][1]:.4f} |"
        for name, value in report.metrics.items()
    ]
    special = ("backbone", "licence of the photos", "weights", "licence of the weights")
    template = Template(next(place for place in PLACES if place.is_file()).read_text(encoding="utf-8"))
    texts = {
        "name": found.version.name,
        "version": found.version.version,
        "decision": f"{WORDS[found.verdict.decision]}: {found.verdict.reason}.",
        "rung": RUNGS[found.model.rung],
        "backbone": facts["backbone"],
        "count": str(len(dataset.classes)),
        "classes": ", ".join(dataset.classes),
        "images": str(dataset.counts["test"]),
        "time": time_gap.sentence(found.report.time) if found.report.time else "",
        "slice": _worst(found),
        "transfer": found.transfer.sentence,
        "data": f"{dataset.counts['train']} training images, digest {dataset.digest}",
        "licence": facts["licence of the photos"],
        "weights": facts["weights"],
        "weights_licence": facts["licence of the weights"],
    }
    held = map(markdown, calibration.sentences(found.calibration, found.report))
    others = [f"{markdown(name)}: {markdown(value)}" for name, value in facts.items() if name not in special]
    return template.substitute(
        {name: markdown(value) for name, value in texts.items()},
        metrics="\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *scores]),
        calibration="\n- ".join(held),
        provenance="\n- ".join(others),
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
