"""Check transfer: are the features of pretrained weights better here than those of random ones?"""

from collections.abc import Iterator

import pandas as pd

from tasks.data import datasets, subsets
from tasks.evaluation.statistics import clusters, cross_validation
from tasks.features import probes, tables, views
from tasks.features.extraction import start
from tasks.networks import backbones, heads
from tasks.records import AuditRef, FeaturesRef, ImagesRef, TransferRef, digest
from tasks.reports import sentences
from tasks.runtime.store.tables import Table
from tasks.services.orchestration.stage import stage
from tasks.settings import Backbone, Extraction, TransferCheck

#: Parts of the sample; each is seen in other views by a head that was fitted on the rest.
FOLDS = 4


@stage(version=5)
def check_transfer(
    images: ImagesRef,
    trained: FeaturesRef,
    audited: AuditRef,
    extraction: Extraction,
    settings: TransferCheck,
    seed: int,
) -> TransferRef:
    """Linear probes on pretrained and on random frozen weights, and the most frequent class, on validation images.

    All three use the same sample, in which the photos of a group and near-copies count once. If there is nothing to
    compare with, the sentence says why.
    """
    backbone = extraction.backbone
    address = digest("transfer", images, trained, audited, backbone, settings, extraction.backend, seed)
    other = backbones.randomised(backbone)
    if other is None or other == backbone or not settings.enabled:
        return TransferRef(address, _why_not(backbone, settings), 0, {}, {})
    # The unchanged photos, if training uses that view.
    name = "identity" if "identity" in extraction.views else extraction.views[0]
    train, validation = (_sample(images, audited, split, settings.images, seed) for split in ("train", "validation"))
    random = _random(images, extraction, other, pd.concat([train, validation]), name)
    found = {
        "pretrained": (tables.summaries(trained, train, name), tables.summaries(trained, validation)),
        "random": (tables.vectors(random, train, name), tables.vectors(random, validation)),
    }
    classes = images.dataset.classes
    labels, truth = datasets.labels(train, classes), datasets.labels(validation, classes)
    groups = validation["unit"].to_numpy()
    scores, gained = probes.compared(found, labels, truth, len(classes), settings.margin, seed, groups)
    said = " ".join(
        (sentences.weights(scores, gained, settings.margin), *_telling(images, trained, train, extraction.views, seed))
    )
    return TransferRef(address, said, len(train), scores, gained, len(validation), clusters.number(groups, len(groups)))


def _telling(
    images: ImagesRef, trained: FeaturesRef, rows: pd.DataFrame, wanted: tuple[str, ...], seed: int
) -> Iterator[str]:
    """A sentence for each view that is trained on and shows other things than the unchanged photos."""
    labels, units = datasets.labels(rows, images.dataset.classes), rows["unit"].to_numpy()
    folds = cross_validation.folds(labels, units, FOLDS, seed) if len(wanted) > 1 and "identity" in wanted else ()
    if len(folds) < 2:
        return
    plain = tables.summaries(trained, rows)
    changed = views.rise(heads.Examples(lambda at: plain[at], labels, units), folds, len(images.dataset.classes))
    for name in wanted:
        if name != "identity" and (found := changed(tables.summaries(trained, rows, name)))[1]:
            yield sentences.view(name, found[0])


def _why_not(backbone: Backbone, settings: TransferCheck) -> str:
    if not settings.enabled:
        return "Not checked: transfer_check.enabled is false."
    if backbone.weights == "random":
        return "Not checked: the recipe's own weights are random."
    return f"Not checked: backbones of kind {backbone.kind} are not available with random weights."


def _sample(images: ImagesRef, audited: AuditRef, split: str, most: int, seed: int) -> pd.DataFrame:
    rows = datasets.rows(images.dataset, split).assign(unit=datasets.units(images.dataset, audited, split))
    chosen = subsets.at_most(datasets.labels(rows, images.dataset.classes), most, seed)
    return rows.iloc[chosen].reset_index(drop=True)


def _random(images: ImagesRef, settings: Extraction, backbone: Backbone, rows: pd.DataFrame, name: str) -> Table:
    """The table of features from random weights, filled with these rows."""
    # Means are compared, whatever is pooled; these numbers may be too small for 16 bits.
    network = backbone.model_copy(update={"pooling": "avg", "beside": ()})
    how = settings.extract.model_copy(update={"dtype": "float32"})
    found = start(images, settings.model_copy(update={"backbone": network, "extract": how}))
    found.fill(images, {"train": (name,), "validation": ("identity",)}, "random weights", rows)
    return found.table
