"""The report of a run: one HTML file with its pictures inside, no script, nothing loaded from elsewhere.

The decision comes first, then the findings behind it.
"""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from tasks.records import DatasetRef, Findings, LadderRef, ModelRef, StageLog, TunedRef
from tasks.reports import sentences
from tasks.reports.sections import (
    audits,
    calibration,
    decision,
    provenance,
    scores,
    search,
    slices,
    time_gap,
    transfers,
)
from tasks.reports.sections import ranking as backbones
from tasks.reports.sections.html import table
from tasks.runtime.home import home

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .4rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.long{overflow-wrap:anywhere}
img{max-width:100%;height:auto;background:#fff;border-radius:.3rem}.wide{overflow-x:auto}
.decision{border-left:.4rem solid;padding:.8rem 1rem;margin:1rem 0;background:var(--soft);overflow-wrap:anywhere}
.decision strong{display:block;font-size:1.4rem}
.promote{border-color:#2a9d4a}.keep{border-color:#c0392b}.undecided{border-color:#d08700}
nav a{margin-right:.9rem;white-space:nowrap}
@media(max-width:40rem){td.n{white-space:nowrap}td:last-child:not(.n){min-width:15rem}}
"""


def write(
    to: Path,
    found: Findings,
    pictures: Mapping[str, Path],
    stages: Mapping[str, StageLog],
    facts: Mapping[str, str],
) -> None:
    """Write the page. `pictures`: by their headings; `stages`: those run before; `facts`: the model's provenance."""
    name, rung = found.version.name, found.model.rung
    parts = {
        "Scores on the test images": scores.metrics(found.report, found.dataset.counts["test"]),
        "Ladder": scores.ladder(found.ladder) + scores.costs(found.ladder),
        "What was chosen": search.section(found.search) + search.races(found.ladder.races),
        "The newest images": time_gap.section(found.report.time),
        "Classes": scores.classes(found.report.classes),
        "Calibration and prediction sets": calibration.section(found.calibration, found.report),
        "The model": _summary(found.model, found.ladder),
        "Data": _data(found.dataset),
        "Problems in the data": audits.section(found.audit, home()) if found.audit else "",
        "Which backbone": backbones.section(found.ranking),
        "Search for a head": _search(found.tuned),
        "Did transfer help?": transfers.section(found.transfer),
        "Slices": slices.section(found.report.slices, rung, found.report.probe),
        **{heading: _picture(heading, file) for heading, file in pictures.items()},
        "Stages": _stages(stages),
        "Provenance": provenance.section(facts),
    }
    parts = {heading: text for heading, text in parts.items() if text}
    links = "".join(f'<a href="#{_anchor(heading)}">{escape(heading)}</a> ' for heading in parts)
    body = "".join(f'<h2 id="{_anchor(heading)}">{escape(heading)}</h2>{text}' for heading, text in parts.items())
    title = f"{escape(name)} version {escape(found.version.version)}"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    to.write_text(
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body><h1>{title}</h1>'
        f"{decision.section(found.verdict, found.version)}<nav>{links}</nav>{body}</body></html>",
        encoding="utf-8",
    )


def _anchor(heading: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in heading.lower())


def _picture(heading: str, file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{escape(heading)}" src="data:image/png;base64,{data}">'


def _summary(model: ModelRef, ladder: LadderRef) -> str:
    found, training = model.validation.scores, model.training
    refitted = " Then it was trained again on training and validation images."
    return (
        f"<p>Chosen rung: {scores.RUNGS[model.rung]}. Validation log loss {found['log_loss']:.4f}, "
        f"accuracy {found['accuracy']:.2%}. {training.frozen_variables} variables were frozen and are "
        f"unchanged bit for bit; {training.trained_variables} were trained for {training.epochs} epochs."
        f"{refitted if model.digest != ladder.chosen.digest else ''}</p>"
    )


def _search(tuned: TunedRef | None) -> str:
    """The result of a search for a head; empty if the recipe names the head."""
    return f"<p>{escape(sentences.search(tuned))}</p>" if tuned else ""


def _data(dataset: DatasetRef) -> str:
    counts = ", ".join(f"{n} {split}" for split, n in dataset.counts.items())
    warnings = "".join(f"<li>{escape(text)}</li>" for text in dataset.warnings)
    return (
        f"<p>{counts}; {dataset.rejected} files set aside, {dataset.duplicates} copies left out. "
        f"{len(dataset.classes)} classes: {escape(', '.join(dataset.classes))}. "
        f"{dataset.expectations} expectations were checked. Digest {dataset.digest}.</p><ul>{warnings}</ul>"
    )


def _stages(stages: Mapping[str, StageLog]) -> str:
    rows = [
        (escape(name), f"{log.seconds:.1f}", "taken from the cache" if log.cached else "")
        for name, log in stages.items()
    ]
    total = sum(log.seconds for log in stages.values())
    return f"<p>{total:.0f} seconds in total.</p>{table({'stage': False, 'seconds': True, '': False}, rows)}"
