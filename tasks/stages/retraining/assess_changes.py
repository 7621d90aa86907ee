"""Assess changes: is it worth training again on the new images? Three questions, on features that are cached anyway."""

import pandas as pd

from tasks.data import changes, datasets, subsets
from tasks.evaluation import drift
from tasks.evaluation.statistics import bootstrap
from tasks.features import probes, tables
from tasks.records import Accuracy, AssessmentRef, ChangesRef, Drift, FeaturesRef, Gain, ImagesRef, digest
from tasks.runtime.store.tables import Table
from tasks.services.orchestration.stage import stage
from tasks.services.registry import predict, registered_models, versions
from tasks.settings import Retrain

#: Largest number of images for one question.
MOST = 1000
NOTHING = "they are like the old ones, the champion is as good on them, and a probe does not improve with them"


@stage(version=2, reads=lambda images, features, found, settings, name, seed: registered_models.opponent(name, ""))
def assess_changes(
    images: ImagesRef, features: FeaturesRef, found: ChangesRef, settings: Retrain, name: str, seed: int
) -> AssessmentRef:
    """`train` if the new images are unlike the old ones, the champion is worse on them, or a probe improves with them.

    The linear probe is fitted on the training images as the newest version had them, and as they are now, and scored
    on all validation images. Each question has a third of the significance level.
    """
    rows = datasets.rows(images.dataset)
    before = versions.data_of(name, found.version)
    changed = changes.between(before, rows)
    fresh = rows["key"].isin({*changed.new, *changed.relabelled})
    level = settings.significance / 3
    table = Table(features.table, features.shape, features.dtype)
    drifted = _drift(table, rows[rows["key"].isin(changed.new)], rows[~fresh], images.dataset.classes, seed, level)
    champion = registered_models.opponent(name, "")
    worse = _champion(name, champion, rows[fresh], images.dataset.classes, seed) if champion else None
    gained = _probe(table, rows, before, fresh, images.dataset.classes, seed, level)
    reasons = because(drifted, worse, gained, level)
    return AssessmentRef(
        digest=digest("assessment", images, features, found, settings, name, seed, champion),
        decision="train" if reasons else "skip",
        reason=f"{found.reason}: {'; '.join(reasons) or NOTHING}",
        drift=drifted,
        champion=worse,
        probe=gained,
    )


def because(drifted: Drift | None, champion: Accuracy | None, probe: Gain | None, level: float) -> list[str]:
    """Reasons to train, one clause each; none if no question has a significant answer."""
    reasons = []
    if drifted and drifted.drifted:
        reasons.append("the new images are unlike the old ones")
    if champion and champion.p <= level:
        shares = f"{champion.share:.1%} of them, against {champion.before:.1%} of its test images"
        reasons.append(f"the champion is right on {shares}")
    if probe and probe.low > 0:
        reasons.append(f"with them a linear probe's log loss falls by {probe.value:.4f} on the validation images")
    return reasons


def _drift(
    table: Table, new: pd.DataFrame, before: pd.DataFrame, classes: tuple[str, ...], seed: int, level: float
) -> Drift | None:
    if not len(new) or not len(before):
        return None
    sampled = before.iloc[subsets.at_most(datasets.labels(before, classes), MOST, seed)]
    ours, theirs = (datasets.labels(rows, classes) for rows in (new, sampled))
    return drift.of_features(
        tables.vectors(table, new), tables.vectors(table, sampled), ours, theirs, classes, seed, level
    )


def _champion(name: str, version: str, rows: pd.DataFrame, classes: tuple[str, ...], seed: int) -> Accuracy | None:
    """How often the champion is right on the images, against its test images: Fisher's exact test, one-sided."""
    from scipy.stats import fisher_exact

    before = versions.hits(name, version)
    if before is None:
        return None
    labels = datasets.labels(rows, classes)
    part = subsets.at_most(labels, MOST, seed)
    probabilities, _ = predict.score(name, version, datasets.contents(rows.iloc[part]), classes)
    right = int(bootstrap.correct(labels[part], probabilities).sum())
    table = [[right, len(part) - right], [before[0], before[1] - before[0]]]
    p = float(fisher_exact(table, alternative="less").pvalue)
    return Accuracy(len(part), right / len(part), before[0] / before[1], p)


def _probe(
    table: Table,
    rows: pd.DataFrame,
    before: pd.DataFrame,
    fresh: pd.Series,
    classes: tuple[str, ...],
    seed: int,
    level: float,
) -> Gain | None:
    """By how much a probe's validation log loss falls if it is fitted on all images instead of the version's.

    The version's images keep their labels of that time. None if either set has fewer than two classes.
    """
    training, validation = rows["split"] == "train", rows[rows["split"] == "validation"]
    labels_then = before.set_index("key")["label"]
    then = rows[training & rows["key"].isin(labels_then.index)]
    then = then.assign(label=then["key"].map(labels_then))
    then = then[then["label"].isin(classes)]
    if not (training & fresh).any() or then["label"].nunique() < 2:
        return None
    truth, seen = datasets.labels(validation, classes), tables.vectors(table, validation)
    losses = []
    for part in (then, rows[training]):
        chosen = part.iloc[subsets.at_most(datasets.labels(part, classes), MOST * 5, seed)]
        ours = datasets.labels(chosen, classes)
        probabilities = probes.probe(tables.vectors(table, chosen), ours, seen, truth, len(classes))
        losses.append(bootstrap.losses(truth, probabilities))
    without, with_them = losses
    gain = without - with_them
    return Gain(float(gain.mean()), *bootstrap.interval(gain, 1 - level, seed))
