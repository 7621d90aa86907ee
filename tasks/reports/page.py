"""The page of an evaluation: one HTML file with its pictures inside, no script, nothing loaded from elsewhere."""

import base64
from html import escape
from pathlib import Path

from tasks.records import DatasetRef, LadderRef, ModelRef, RankingRef, Report, TransferRef
from tasks.reports import ranking as backbones
from tasks.reports import slices, transfers

STYLE = """
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:1.6rem 0 .4rem}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
img{max-width:100%;height:auto;background:#fff;border-radius:.3rem}.wide{overflow-x:auto}
"""

RUNGS = {
    "knn": "Nearest neighbours on the frozen network",
    "probe": "A linear head on the frozen network",
    "head": "The recipe's head on the frozen network",
    "blocks": "The network with its last blocks fine-tuned",
    "whole": "The network fine-tuned as a whole",
    "interpolated": "Weights between the frozen and the fine-tuned network",
}

MEANING = {
    "accuracy": "share of images recognised",
    "balanced_accuracy": "mean over the classes, each counting the same",
    "macro_f1": "precision and recall together, mean over the classes",
    "roc_auc": "how well the probabilities order the images; 0.5 is chance",
    "log_loss": "surprise at the labels, nats; lower is better",
    "ece": "gap between confidence and accuracy; lower is better",
}


def write(
    to: Path,
    name: str,
    dataset: DatasetRef,
    model: ModelRef,
    ladder: LadderRef,
    transfer: TransferRef,
    report: Report,
    pictures: dict[str, Path],
    ranking: RankingRef | None = None,
) -> None:
    """Write the page with the scores on the test images and the pictures, given by their headings."""
    parts = [f"<h1>{escape(name)}: what the model is worth</h1>", _summary(dataset, model)]
    parts.append("<h2>Scores on the test images</h2>" + _scores(report.metrics, report.intervals))
    parts.append("<h2>Ladder</h2>" + _ladder(ladder) + backbones.section(ranking))
    parts.append("<h2>Did transfer help?</h2>" + transfers.section(transfer))
    parts.append("<h2>Slices</h2>" + slices.section(report.slices, model.rung, report.probe))
    for heading, file in pictures.items():
        data = base64.b64encode(file.read_bytes()).decode()
        parts.append(f'<h2>{escape(heading)}</h2><img alt="{escape(heading)}" src="data:image/png;base64,{data}">')
    parts.append("<h2>Data</h2>" + _data(dataset))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(name)}</title>'
    to.write_text(
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{"".join(parts)}</body></html>',
        encoding="utf-8",
    )


def _summary(dataset: DatasetRef, model: ModelRef) -> str:
    return (
        f"<p>{RUNGS[model.rung]} was taken: validation log loss {model.validation['log_loss']:.4f}, "
        f"accuracy {model.validation['accuracy']:.2%}. {model.frozen_variables} variables were frozen and are "
        f"unchanged bit for bit; {model.trained_variables} were trained for {model.epochs} epochs.</p>"
        f"<p>{len(dataset.classes)} classes: {escape(', '.join(dataset.classes))}.</p>"
    )


def _ladder(ladder: LadderRef) -> str:
    """Each rung's score on the validation images."""
    rows = "".join(
        f"<tr><td>{escape(score.rung)}{' (taken)' if score.shipped else ''}</td><td>{RUNGS[score.rung]}</td>"
        f'<td class="n">{score.accuracy:.4f}</td><td class="n">{score.log_loss:.4f}</td>'
        f'<td class="n">{score.interval[0]:.4f} to {score.interval[1]:.4f}</td>'
        f'<td class="n">{score.gap_interval[0]:+.4f} to {score.gap_interval[1]:+.4f}</td>'
        f'<td class="n">{score.seconds:.1f}</td></tr>'
        for score in ladder.scores
    )
    head = (
        '<tr><th>rung</th><th>what it is</th><th class="n">accuracy</th><th class="n">log loss</th>'
        '<th class="n">interval</th><th class="n">worse than the best by</th><th class="n">seconds</th></tr>'
    )
    return (
        f"<p>On the validation images. Taken is the cheapest rung that is not significantly worse than the best one: "
        f"the interval of what it is worse by reaches 0 or below. The ladder ended where it does because "
        f'{escape(ladder.reason)}.</p><div class="wide"><table>{head}{rows}</table></div>'
    )


def _scores(metrics: dict[str, float], intervals: dict[str, tuple[float, float]]) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{value:.4f}</td>'
        f'<td class="n">{intervals[name][0]:.4f} to {intervals[name][1]:.4f}</td><td>{MEANING.get(name, "")}</td></tr>'
        for name, value in metrics.items()
    )
    head = '<tr><th>metric</th><th class="n">value</th><th class="n">95 % interval</th><th>meaning</th></tr>'
    return f'<div class="wide"><table>{head}{rows}</table></div>'


def _data(dataset: DatasetRef) -> str:
    counts = ", ".join(f"{n} {split}" for split, n in dataset.counts.items())
    warnings = "".join(f"<li>{escape(text)}</li>" for text in dataset.warnings)
    return (
        f"<p>{counts}; {dataset.rejected} files set aside, {dataset.duplicates} copies left out. "
        f"{dataset.expectations} expectations were checked. Digest {dataset.digest}.</p><ul>{warnings}</ul>"
    )
