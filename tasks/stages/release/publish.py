"""Publish: the report of the run and the model card, in MLflow and at the version."""

from pathlib import Path

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.networks import backbones
from tasks.records import Findings, ImagesRef, PageRef, StageLog, digest
from tasks.reports import card, figures, page
from tasks.reports.sections import provenance
from tasks.reports.sections.scores import measured
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.services.registry import versions
from tasks.settings import Recipe

#: In a picture; the table has all.
MOST_SLICES = 30
#: A table for MLflow, and its most rows.
MISTAKES, MOST_MISTAKES = "worst_mistakes", 100
FILES = {
    "Confusion matrix": "confusion_matrix.png",
    "Reliability": "reliability.png",
    "Worst mistakes": "worst_mistakes.png",
    "What the mistakes rest on": "mistakes_explained.png",
}


@stage(
    version=7,
    reads=lambda found, images, recipe: _read(found),
    tells=lambda page: tracking.log_to_run((home() / page.path).parent),
)
def publish(found: Findings, images: ImagesRef, recipe: Recipe, *, stages: dict[str, StageLog]) -> PageRef:
    """One HTML page with all findings, and a card, which becomes the version's description with a link to the page."""
    address = digest("page", found, recipe, *_read(found))
    facts = _facts(found, recipe)
    with folders.folder("pages", address) as (working, path):
        figures_there = (home() / found.report.path).parent
        pictures = {
            heading: figures_there / name for heading, name in FILES.items() if (figures_there / name).is_file()
        } | _drawn(found, working)
        if found.verdict.champion:
            pictures["Negative flips"] = _negative_flips(found, images, working / "negative_flips.png")
        if curves := tracking.fetched("compare", found.dataset.digest, "curves.png", working):
            pictures["Learning curves"] = curves
        predictions = folders.frame(found.report.predictions)
        _mistakes(predictions, images, working)
        page.write(working / "report.html", found, pictures, predictions, stages, facts)
        (working / "model_card.md").write_text(card.text(found, facts), encoding="utf-8")
    link = tracking.page("report.html") or (home() / path / "report.html").as_uri()
    written = (home() / path / "model_card.md").read_text(encoding="utf-8")
    versions.annotate(found.version, f"[Report]({link})\n\n{written}")
    return PageRef(f"{path}/report.html", f"{path}/model_card.md", address)


def _read(found: Findings) -> tuple[str, tuple[str, ...], str]:
    """What the page tells beside the findings: curves, and what has become of the version since."""
    return tracking.newest("compare", found.dataset.digest), found.version.aliases, found.version.note


def _drawn(found: Findings, to: Path) -> dict[str, Path]:
    """Pictures of what the sections tell, by their headings."""
    pictures = {}
    ladder, scores = found.ladder, found.report.slices[:MOST_SLICES]
    trained = {rung.rung: rung.training for rung in ladder.rungs if len(rung.training.loss) > 1}
    if trained:
        pictures["The model"] = to / "losses.png"
        figures.losses({name: (log.loss, log.validation_loss) for name, log in trained.items()}, to / "losses.png")
    costs = measured(ladder)
    if len(costs) > 1:
        pictures["Ladder"] = to / "costs.png"
        pairs = zip(ladder.scores, costs, strict=True)
        figures.costs([(s.rung, accuracy, cost, s.shipped) for s, (accuracy, cost, _) in pairs], to / "costs.png")
    if scores:
        pictures["Slices"] = to / "slices.png"
        figures.slices(scores, to / "slices.png")
    return pictures


def _mistakes(predictions: pd.DataFrame, images: ImagesRef, to: Path) -> None:
    """A table of the mistakes with their photos, the most confident first, which MLflow's page of the run shows."""
    wrong = np.flatnonzero(predictions["label"] != predictions["predicted"])
    wrong = wrong[np.argsort(-predictions["probability"].to_numpy()[wrong], kind="stable")][:MOST_MISTAKES]
    if len(wrong):
        told = predictions.iloc[wrong][["label", "predicted", "probability", "uri"]].to_dict("list")
        pixels = datasets.pixel_reader(images, datasets.rows(images.dataset, "test"))(wrong)
        tracking.write_table(to, MISTAKES, pixels, told)


def _facts(found: Findings, recipe: Recipe) -> dict[str, str]:
    """Names and values for the page and the card."""
    run = tracking.current()
    used = recipe.backbones_of(found.model.rung)
    return {
        "recipe": f"{recipe.name}, seed {recipe.seed}, split {recipe.split.salt!r}",
        "MLflow run": run.id,
        "data set": found.dataset.digest,
        "test set": found.verdict.test_set,
        "licence of the photos": recipe.source.licence or "not stated: source.licence in the recipe",
        "backbone": "; ".join(backbones.label(each) for each in used),
        "weights": "; ".join(f"digest {backbones.weights(each)[:20]}" for each in used),
        "licence of the weights": "; ".join(dict.fromkeys(backbones.licence(each) for each in used)),
        "model": found.model.digest,
    } | provenance.of_machine()


def _negative_flips(found: Findings, images: ImagesRef, to: Path) -> Path:
    """Test images that the champion gets right and this model gets wrong, the most confident mistakes first."""
    rows, classes = datasets.rows(images.dataset, "test"), images.dataset.classes
    labels = datasets.labels(rows, classes)
    ours = np.stack(folders.frame(found.report.predictions)["probabilities"].to_list())
    theirs = np.stack(folders.frame(found.verdict.champion)["probabilities"].to_list())
    predicted = ours.argmax(axis=1)
    flips = np.flatnonzero((predicted != labels) & (theirs.argmax(axis=1) == labels))
    flips = flips[np.argsort(-ours.max(axis=1)[flips], kind="stable")]
    shown = flips[: figures.GALLERY]
    captions = [figures.caption(classes[labels[i]], classes[predicted[i]], ours[i].max()) for i in shown]
    pixels = datasets.pixel_reader(images, rows)(shown)
    figures.gallery(pixels, captions, f"Right with the champion, wrong now: {len(flips)} of {len(rows)}", to)
    return to
