"""Do new images differ from the earlier ones? Statistical tests of samples, with their p-values.

Drift libraries do not fit: frouros (requests < 2.33) and alibi-detect (Pillow < 11) cannot be installed with our MLflow
and Pillow; evidently can, with about 40 more packages, but it fits components to the old images alone, and does not
compare images within their classes, so that changed class shares look like drift.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tasks.evaluation.statistics import clusters, two_samples
from tasks.evaluation.statistics.two_samples import Sample
from tasks.records import Drift

#: Smaller p-values are reported as drift; the smallest of several is multiplied by their number (Bonferroni).
LEVEL = 0.05
#: Smallest and largest number of images of each sample in a comparison.
LEAST, MOST = 10, 2000
#: Smallest and largest number of shuffles, and how many of them may exceed the observed value if the strictest test
#: rejects. Beyond the largest number, the tail of the shuffled values is extrapolated.
DRAWS, MOST_DRAWS, BORNE = 999, 5000, 5
#: With fewer expected images of a class the chi-squared distribution does not hold.
EXPECTED = 5
#: So many validation images, or fewer, set a version's limit of novelty (`calibrate`).
LIMITED_BY = 1000
UNLABELLED = "The new images have no labels: changed class shares count as drift."


def of_answers(
    predicted: Mapping[str, int],
    before: Mapping[str, int],
    novel: int | None,
    false_alarms: float,
    validation: int,
    effect: tuple[float, float] = (1.0, 1.0),
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Sentences and p-values: on the predicted classes, compared with `before`, and on the number of novel images.

    `predicted`, `before`: images by the class that the same version predicts. `novel`: images farther from the training
    images than a limit that was set on `validation` images, for a share `false_alarms` of familiar ones at most.
    `effect`: by how much groups enlarge the variance of these counts, of the new images and of those before; each then
    counts as so many times fewer images.
    """
    pairs = zip((predicted, before), effect, strict=True)
    fewer = [{name: round(n / times) for name, n in counts.items()} for counts, times in pairs]
    now, then = effect
    p = {"classes": _classes(*fewer)}
    images = sum(predicted.values())
    shares = "; ".join(
        f"{name} {n / max(images, 1):.1%}, before {before[name] / max(sum(before.values()), 1):.1%}"
        for name, n in predicted.items()
    )
    level = LEVEL / (1 if novel is None else 2)
    differ = "differ" if p["classes"] < level else "are not shown to differ"
    sentences = [f"Shares of predicted classes {differ} from before (p = {p['classes']:.2g}): {shares}."]
    if novel is not None:
        beyond, of, limited_by = round(novel / now), round(images / now), round(validation / then)
        p["novelty"] = more_novel(beyond, of, limited_by, false_alarms)
        more = "More" if p["novelty"] < level else "Not certainly more"
        sentences.append(
            f"{more} images than expected are unlike the training images: {novel / max(images, 1):.1%} (p = "
            f"{p['novelty']:.2g}), compared with {false_alarms:.0%} of the validation images."
        )
    if now > 1:
        sentences.append(f"Images of a group are alike: {images:,} tell as much as {images / now:,.0f} single ones.")
    return tuple(sentences), p


def effect(flags: np.ndarray, groups: np.ndarray) -> float:
    """By how much groups enlarge the variance of counts, at most: of answers bool[n, k] that rows have or lack."""
    varied = flags[:, flags.any(axis=0) & ~flags.all(axis=0)].astype(float)
    alike = len(flags) / clusters.number(groups, len(flags)) if len(flags) else 1.0
    return max((clusters.design_effect(each, groups) for each in varied.T), default=alike)


def of_features(
    new: Sample, before: Sample, classes: Sequence[str], seed: int, level: float = LEVEL, labelled: bool = True
) -> Drift:
    """Whether new images differ from earlier ones, by a frozen network's features.

    Labels are indexes of `classes`. If the new images are `labelled`, images are compared within their class, and
    changed class shares do not count as drift; otherwise they do. If nothing has changed, `drifted` is wrong with
    probability `level` at most, over all tests. Groups, numbered alike in both samples, are compared whole.
    """
    if not labelled:
        new, before = (replace(sample, labels=np.zeros(len(sample.labels), int)) for sample in (new, before))
        found = _images(new, before, (), seed, level)
        return replace(found, sentences=(*found.sentences, UNLABELLED))
    found = _images(new, before, classes, seed, level)
    shares, sentences = _shares(new, before, classes, level, seed)
    return replace(found, shares=shares, sentences=(*found.sentences, *sentences))


def _images(new: Sample, before: Sample, classes: Sequence[str], seed: int, level: float) -> Drift:
    """Drift within the labels, and in which of `classes`, if they have names."""
    new, before = _alike(new, before, seed)
    rows, old_rows = _drawn(new.labels, before.labels, np.random.default_rng(seed))
    ours, theirs, sizes = new.part(rows), before.part(old_rows), (len(rows), len(old_rows))
    if min(sizes) < LEAST:
        few = f"{sizes[0]:,} new and {sizes[1]:,} earlier images can be compared, {LEAST} of each are needed"
        return Drift(False, (f"Too few images to detect drift: {few}.",), *sizes, level)
    tested = _large(ours, theirs) if classes else []
    if few := _few_groups(ours, theirs, (2 + len(tested)) / level):
        return Drift(False, (few,), *sizes, level)
    draws = min(MOST_DRAWS, max(DRAWS, round(BORNE * (2 + len(tested)) / level)))
    found = two_samples.compare(ours, theirs, draws, seed)
    energy, classifier, *each = _holm([found.energy, found.classifier, *(found.classes[at] for at in tested)])
    named = {classes[at]: p for at, p in zip(tested, each, strict=True)}
    small = [classes[at] for at in np.unique(new.labels) if at not in tested] if classes else []
    drift = Drift(min(energy, classifier, *each) <= level, (), *sizes, level)
    drift = replace(drift, p={"energy": energy, "classifier": classifier}, classes=named, auc=found.auc)
    return replace(drift, sentences=(*_sentences(drift, small), *_groups(ours, theirs)))


def _alike(new: Sample, before: Sample, seed: int) -> tuple[Sample, Sample]:
    """Some rows of both, see `two_samples.alike`."""
    rows = two_samples.alike(*two_samples.joined(new, before), seed)
    return new.part(rows[: len(new.labels)]), before.part(rows[len(new.labels) :])


def _few_groups(ours: Sample, theirs: Sample, needed: float) -> str:
    """Why so few groups cannot show drift, whatever they look like; "" if they can."""
    new, labels, groups = two_samples.joined(ours, theirs)
    found = two_samples.Shuffles(new, labels, groups).arrangements
    if groups is None or found >= needed:
        return ""
    return (
        f"Too few groups to detect drift: {len(ours.labels):,} new images of {_units(ours):,} groups and "
        f"{len(theirs.labels):,} earlier ones of {_units(theirs):,} can be parted in {found:,.0f} ways, "
        f"{math.ceil(needed):,} are needed."
    )


def _groups(ours: Sample, theirs: Sample) -> Iterator[str]:
    """How many groups were compared, if they are fewer than images."""
    if _units(ours) + _units(theirs) < len(ours.labels) + len(theirs.labels):
        yield f"Groups of images are compared whole: {_units(ours):,} new and {_units(theirs):,} earlier ones."


def _units(sample: Sample) -> int:
    return clusters.number(sample.groups, len(sample.labels))


def _drawn(ours: np.ndarray, theirs: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each sample to compare: of labels that both have at least twice, and about `MOST` rows at most."""
    common = [label for label in np.unique(ours) if min((ours == label).sum(), (theirs == label).sum()) > 1]
    most = max(LEAST, MOST // max(len(common), 1))
    found = []
    for labels in (ours, theirs):
        rows = [random.permutation(np.flatnonzero(labels == label))[:most] for label in common]
        found.append(np.sort(np.concatenate([np.empty(0, int), *rows])))
    return found[0], found[1]


def _large(ours: Sample, theirs: Sample) -> list[int]:
    """Labels with enough images in both samples for a separate test."""
    known = np.unique(ours.labels)
    return [int(at) for at in known if min((ours.labels == at).sum(), (theirs.labels == at).sum()) >= LEAST]


def _holm(p: list[float]) -> list[float]:
    """P-values corrected for their number: Holm 1979, Scandinavian Journal of Statistics 6:65-70."""
    from statsmodels.stats.multitest import multipletests

    return [float(each) for each in multipletests(p, method="holm")[1]]


def _sentences(drift: Drift, small: Sequence[str]) -> Iterator[str]:
    """The results of the tests of the images, for people; `small`: classes without a separate test."""
    verdict = "The images have drifted" if drift.drifted else "Drift of the images is not shown"
    judged = f"p-values are corrected for {2 + len(drift.classes)} tests, up to {drift.level:g} is drift"
    yield f"{verdict}: {drift.new:,} new images were compared with {drift.before:,} earlier ones; {judged}."
    energy, classifier = drift.p["energy"], drift.p["classifier"]
    differ = "differ" if energy <= drift.level else "are not shown to differ"
    yield f"Their features {differ} from the earlier ones (energy distance, p = {energy:.2g})."
    better = "more often than by chance" if classifier <= drift.level else "which may be chance"
    yield f"A classifier finds the new image in {drift.auc:.0%} of pairs, {better} (p = {classifier:.2g})."
    drifted = [f"{name} (p = {p:.2g})" for name, p in drift.classes.items() if p <= drift.level]
    if drift.classes:
        none = f"No class is shown to differ by itself (smallest p = {min(drift.classes.values()):.2g})."
        yield f"Classes that differ: {', '.join(drifted)}." if drifted else none
    if small:
        yield f"Classes with too few images for a test ({LEAST} new and {LEAST} earlier): {', '.join(small)}."


def _shares(
    ours: Sample, theirs: Sample, classes: Sequence[str], level: float, seed: int
) -> tuple[float, tuple[str, ...]]:
    """P-value of a difference in the class shares, and sentences about them."""
    counts = (np.bincount(each.labels, minlength=len(classes)).tolist() for each in (ours, theirs))
    now, then = (dict(zip(classes, each, strict=True)) for each in counts)
    new, old = len(ours.labels), len(theirs.labels)
    groups = two_samples.together(ours.groups, theirs.groups)
    alone = clusters.number(groups, new + old) == new + old
    p = _classes(now, then) if alone else _classes_of_groups(ours, theirs, seed)
    sentence = f"Class shares are not shown to differ from before (p = {p:.2g})."
    if p <= level:
        each = "; ".join(f"{name} {n / new:.1%}, before {then[name] / old:.1%}" for name, n in now.items())
        sentence = f"Class shares differ from before (p = {p:.2g}), which does not count as drift: {each}."
    fresh = [f"{name} ({n:,} images)" for name, n in now.items() if n and not then[name]]
    return p, (sentence, *([f"New classes: {', '.join(fresh)}."] if fresh else []))


def _classes_of_groups(ours: Sample, theirs: Sample, seed: int) -> float:
    """P-value of the chi-squared statistic of the class counts, where whole groups may be new or not."""
    new, labels, groups = two_samples.joined(ours, theirs)
    if new.all() or not new.any():
        return 1.0
    rows = two_samples.alike(new, 0 * labels, groups, seed)
    labels, new, groups = labels[rows], new[rows], None if groups is None else groups[rows]
    shuffles = two_samples.Shuffles(new, 0 * labels, groups)
    samples = shuffles.drawn(DRAWS, np.random.default_rng(seed))
    each = np.eye(labels.max() + 1)[labels]
    each = each[:, each.any(axis=0)]
    expected = each.mean(axis=0)[:, None] * samples.sum(axis=0)
    size = samples.sum(axis=0) * (~samples.astype(bool)).sum(axis=0) / len(labels)
    differs = ((each.T @ samples - expected) ** 2 / each.mean(axis=0)[:, None]).sum(axis=0) / size
    return two_samples.p_value(differs, shuffles.arrangements)


def _classes(now: Mapping[str, int], before: Mapping[str, int]) -> float:
    """P-value of a chi-squared test of two rows of counts, simulated if they are small; 1 without a comparison."""
    from scipy.stats import MonteCarloMethod, chi2_contingency
    from scipy.stats.contingency import expected_freq

    counts = np.array([[now[name], before.get(name, 0)] for name in now])
    counts = counts[counts.sum(axis=1) > 0]
    if len(counts) < 2 or (counts.sum(axis=0) == 0).any():
        return 1.0
    if expected_freq(counts).min() >= EXPECTED:
        return float(chi2_contingency(counts).pvalue)
    return float(chi2_contingency(counts, correction=False, method=MonteCarloMethod(rng=0)).pvalue)


def more_novel(novel: int, images: int, validation: int, false_alarms: float) -> float:
    """P-value of so many novel images, if a limit was set on `validation` familiar ones for a share `false_alarms`.

    The limit, `calibration.limit`, is one of the validation images' own distances. The share of familiar images beyond
    it is therefore not known: it has a beta distribution, and their number a beta-binomial one. Wilks 1941, Annals of
    Mathematical Statistics 12:91-96; Vovk 2012, https://arxiv.org/abs/1209.2673.
    """
    from scipy.stats import betabinom

    if not images or not validation:
        return 1.0
    rank = min(math.ceil((validation + 1) * (1 - false_alarms)), validation)
    return float(betabinom.sf(novel - 1, images, validation + 1 - rank, rank))
