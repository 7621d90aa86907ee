"""Assess changes: is it worth training again on the new images? Three questions, on features that are cached anyway."""

import numpy as np
import pandas as pd

from tasks.data import changes, datasets, subsets
from tasks.evaluation import drift, test_set_budget
from tasks.evaluation.statistics import bootstrap, two_samples
from tasks.evaluation.statistics.two_samples import Sample
from tasks.features import probes, tables
from tasks.records import Accuracy, AssessmentRef, AuditRef, ChangesRef, Drift, FeaturesRef, Gain, ImagesRef, digest
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.services.registry import predict, registered_models, versions
from tasks.settings import Retrain

#: Largest number of images for one question.
MOST = 1000
NOTHING = (
    "it is not shown that they differ from the old ones, nor a worse champion, nor that a probe improves with them"
)


@stage(
    version=5,
    reads=lambda images, features, audited, found, settings, name, seed: versions.identity(
        name, registered_models.opponent(name, "")
    ),
)
def assess_changes(
    images: ImagesRef,
    features: FeaturesRef,
    audited: AuditRef,
    found: ChangesRef,
    settings: Retrain,
    name: str,
    seed: int,
) -> AssessmentRef:
    """`train` if the new images are unlike the old ones, the champion is worse on them, or a probe improves with them.

    The linear probe is fitted on the training images as the newest version had them, and as they are now, and scored
    on all validation images. Each question has a third of the look's significance level. All looks since the newest
    version share `settings.significance`, as decisions on one test set do.
    """
    rows, classes = datasets.rows(images.dataset), images.dataset.classes
    rows["unit"] = datasets.units(images.dataset, audited)
    before = versions.data_of(name, found.version)
    changed = changes.between(before, rows)
    fresh = rows["key"].isin({*changed.new, *changed.relabelled})
    champion = registered_models.opponent(name, "")
    look, looks = digest("look", images.dataset, champion, seed), tracking.looks(name, found.version)
    earlier = looks.index(look) if look in looks else len(looks)
    level = test_set_budget.level(settings.significance, earlier) / 3
    drifted = _drift(features, rows[rows["key"].isin(changed.new)], rows[~fresh], classes, seed, level)
    worse = _champion(name, champion, rows, fresh, classes, seed) if champion else None
    gained = _probe(features, rows, before, fresh, classes, seed, level)
    reasons = because(drifted, worse, gained, level)
    if fresh.all():  # no question can be asked, today or later
        reasons = ["none of the earlier images is left to compare with"]
    said = "; ".join(reasons) or f"{NOTHING} (look {earlier + 1}, each question at {level:.2%})"
    tracking.log_tag(tracking.LOOK, look)
    tracking.log_tag(tracking.SINCE, found.version)
    return AssessmentRef(
        digest=digest("assessment", images, features, audited, found, settings, name, seed, champion),
        decision="train" if reasons else "skip",
        reason=f"{found.reason}: {said}",
        drift=drifted,
        champion=worse,
        probe=gained,
        look=earlier + 1,
        level=level,
    )


def because(drifted: Drift | None, champion: Accuracy | None, probe: Gain | None, level: float) -> list[str]:
    """Reasons to train, one clause each; none if no question has a significant answer."""
    reasons = []
    if drifted and drifted.drifted:
        reasons.append("the new images are unlike the old ones")
    if champion and champion.p <= level:
        shares = f"{champion.share:.1%} of them, against {champion.before:.1%} of its test images"
        reasons.append(f"the champion is right on {shares}, and less often within the classes")
    if probe and probe.low > 0:
        reasons.append(f"with them a linear probe's log loss falls by {probe.value:.4f} on the validation images")
    return reasons


def _drift(
    features: FeaturesRef, new: pd.DataFrame, before: pd.DataFrame, classes: tuple[str, ...], seed: int, level: float
) -> Drift | None:
    if not len(new) or not len(before):
        return None
    sampled = before.iloc[subsets.at_most(datasets.labels(before, classes), MOST, seed)]
    ours, theirs = (
        Sample(tables.summaries(features, part), datasets.labels(part, classes), part["unit"].to_numpy())
        for part in (new, sampled)
    )
    return drift.of_features(ours, theirs, classes, seed, level)


def _champion(
    name: str, version: str, rows: pd.DataFrame, fresh: pd.Series, classes: tuple[str, ...], seed: int
) -> Accuracy | None:
    """How often the champion is right on the fresh images, against its test images; both are predicted now."""
    data = versions.data_of(name, version)
    if data is None:
        return None
    tested = rows[~fresh & rows["key"].isin(data.loc[data["split"] == "test", "key"])]
    if tested.empty:
        return None
    parts = [part.iloc[subsets.at_most(datasets.labels(part, classes), MOST, seed)] for part in (rows[fresh], tested)]
    chosen, new = pd.concat(parts), np.repeat([True, False], [len(part) for part in parts])
    labels = datasets.labels(chosen, classes)
    answers, _ = predict.score(name, version, datasets.contents(chosen), classes)
    right = bootstrap.correct(labels, answers)
    p = two_samples.seldomer(right, new, labels, chosen["unit"].to_numpy(), seed)
    return Accuracy(int(new.sum()), float(right[new].mean()), float(right[~new].mean()), p)


def _probe(
    features: FeaturesRef,
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
    truth, seen = datasets.labels(validation, classes), tables.summaries(features, validation)
    losses = []
    for part in (then, rows[training]):
        chosen = part.iloc[subsets.at_most(datasets.labels(part, classes), MOST * 5, seed)]
        ours = datasets.labels(chosen, classes)
        probabilities = probes.probe(tables.summaries(features, chosen), ours, seen, truth, len(classes))
        losses.append(bootstrap.losses(truth, probabilities))
    without, with_them = losses
    gain = without - with_them
    return Gain(float(gain.mean()), *bootstrap.student(gain, 1 - level, validation["unit"].to_numpy()))
