"""Do new images differ from the earlier ones? Statistical tests of samples, with their p-values.

Drift libraries do not fit: frouros (requests < 2.33) and alibi-detect (Pillow < 11) cannot be installed with our MLflow
and Pillow; evidently can, with about 40 more packages, but it fits components to the old images alone, and does not
compare images within their classes, so that changed class shares look like drift.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tasks.evaluation.statistics import two_samples
from tasks.records import Drift

#: Smaller p-values are reported as drift; the smallest of several is multiplied by their number (Bonferroni).
LEVEL = 0.05
#: Smallest and largest number of images of each sample in a comparison.
LEAST, MOST = 10, 2000
#: Smallest number of shuffles, and how many of them may exceed the observed value if the strictest test rejects.
DRAWS, BORNE = 999, 5
#: With fewer expected images of a class the chi-squared distribution does not hold.
EXPECTED = 5
UNLABELLED = "The new images have no labels: changed class shares count as drift."


def of_answers(
    predicted: Mapping[str, int], before: Mapping[str, int], novel: int | None, false_alarms: float
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Sentences and p-values: on the predicted classes, compared with `before`, and on the number of novel images.

    `predicted`, `before`: images by the class that the same version predicts. `novel`: images that it calls novel,
    which is a share `false_alarms` of familiar images at most.
    """
    p = {"classes": _classes(predicted, before)}
    images = sum(predicted.values())
    sentences = {"classes": f"Classes are predicted as often as for the validation images (p = {p['classes']:.2g})."}
    level = LEVEL / (1 if novel is None else 2)
    if p["classes"] < level:
        shares = (
            f"{name} {n / images:.1%}, before {before[name] / sum(before.values()):.1%}"
            for name, n in predicted.items()
        )
        sentences["classes"] = f"Shares of predicted classes differ (p = {p['classes']:.2g}): {'; '.join(shares)}."
    if novel is not None:
        p["novelty"] = _more(novel, images, false_alarms)
        more = "More images than expected are" if p["novelty"] < level else "No more images than expected are"
        sentences["novelty"] = (
            f"{more} unlike the training images: {novel / max(images, 1):.1%} (p = {p['novelty']:.2g}), compared with "
            f"{false_alarms:.0%} of the validation images."
        )
    return tuple(sentences.values()), p


def of_features(
    new: np.ndarray,
    before: np.ndarray,
    new_labels: np.ndarray | None,
    before_labels: np.ndarray,
    classes: Sequence[str],
    seed: int,
    level: float = LEVEL,
) -> Drift:
    """Whether new images differ from earlier ones, by a frozen network's features, float[n, values] and float[m, …].

    Labels, int[n] and int[m], are indexes of `classes`. If the new images have labels, images are compared within
    their class, and changed class shares do not count as drift; otherwise they do. If nothing has changed, `drifted`
    is wrong with probability `level` at most, over all tests. Images are assumed to be independent: many images of one
    scene are easily reported as drift.
    """
    if new_labels is None:
        one_class = np.zeros(len(new), int), np.zeros(len(before), int)
        found = _images(new, before, *one_class, (), seed, level)
        return replace(found, sentences=(*found.sentences, UNLABELLED))
    found = _images(new, before, new_labels, before_labels, classes, seed, level)
    shares, sentences = _shares(new_labels, before_labels, classes, level)
    return replace(found, shares=shares, sentences=(*found.sentences, *sentences))


def _images(
    new: np.ndarray,
    before: np.ndarray,
    new_labels: np.ndarray,
    before_labels: np.ndarray,
    classes: Sequence[str],
    seed: int,
    level: float,
) -> Drift:
    """Drift within the labels, and in which of `classes`, if they have names."""
    rows, old_rows = _drawn(new_labels, before_labels, np.random.default_rng(seed))
    sizes = len(rows), len(old_rows)
    if min(sizes) < LEAST:
        few = f"{sizes[0]:,} new and {sizes[1]:,} earlier images can be compared, {LEAST} of each are needed"
        return Drift(False, (f"Too few images to detect drift: {few}.",), *sizes, level)
    labels, old_labels = new_labels[rows], before_labels[old_rows]
    tested = _large(labels, old_labels) if classes else []
    draws = max(DRAWS, round(BORNE * (2 + len(tested)) / level))
    found = two_samples.compare(new[rows], before[old_rows], labels, old_labels, draws, seed)
    energy, classifier, *each = _holm([found.energy, found.classifier, *(found.classes[at] for at in tested)])
    named = {classes[at]: p for at, p in zip(tested, each, strict=True)}
    small = [classes[at] for at in np.unique(new_labels) if at not in tested] if classes else []
    drift = Drift(min(energy, classifier, *each) <= level, (), *sizes, level)
    drift = replace(drift, p={"energy": energy, "classifier": classifier}, classes=named, auc=found.auc)
    return replace(drift, sentences=tuple(_sentences(drift, small)))


def _drawn(ours: np.ndarray, theirs: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each sample to compare: of labels that both have at least twice, and about `MOST` rows at most."""
    common = [label for label in np.unique(ours) if min((ours == label).sum(), (theirs == label).sum()) > 1]
    most = max(LEAST, MOST // max(len(common), 1))
    found = []
    for labels in (ours, theirs):
        rows = [random.permutation(np.flatnonzero(labels == label))[:most] for label in common]
        found.append(np.sort(np.concatenate([np.empty(0, int), *rows])))
    return found[0], found[1]


def _large(ours: np.ndarray, theirs: np.ndarray) -> list[int]:
    """Labels with enough images in both samples for a separate test."""
    return [int(at) for at in np.unique(ours) if min((ours == at).sum(), (theirs == at).sum()) >= LEAST]


def _holm(p: list[float]) -> list[float]:
    """P-values corrected for their number: Holm 1979, Scandinavian Journal of Statistics 6:65-70."""
    from statsmodels.stats.multitest import multipletests

    return [float(each) for each in multipletests(p, method="holm")[1]]


def _sentences(drift: Drift, small: Sequence[str]) -> Iterator[str]:
    """The results of the tests of the images, for people; `small`: classes without a separate test."""
    verdict = "The images have drifted" if drift.drifted else "No drift of the images was found"
    judged = f"p-values are corrected for {2 + len(drift.classes)} tests, up to {drift.level:g} is drift"
    yield f"{verdict}: {drift.new:,} new images were compared with {drift.before:,} earlier ones; {judged}."
    energy, classifier = drift.p["energy"], drift.p["classifier"]
    differ = "differ" if energy <= drift.level else "do not differ significantly"
    yield f"Their features {differ} from the earlier ones (energy distance, p = {energy:.2g})."
    better = "more often than by chance" if classifier <= drift.level else "not significantly more often than by chance"
    yield f"A classifier finds the new image in {drift.auc:.0%} of pairs, {better} (p = {classifier:.2g})."
    drifted = [f"{name} (p = {p:.2g})" for name, p in drift.classes.items() if p <= drift.level]
    if drift.classes:
        none = f"No single class differs (smallest p = {min(drift.classes.values()):.2g})."
        yield f"Classes that differ: {', '.join(drifted)}." if drifted else none
    if small:
        yield f"Classes with too few images for a test ({LEAST} new and {LEAST} earlier): {', '.join(small)}."


def _shares(
    ours: np.ndarray, theirs: np.ndarray, classes: Sequence[str], level: float
) -> tuple[float, tuple[str, ...]]:
    """P-value of a difference in the class shares, and sentences about them."""
    now, then = ({name: int((labels == at).sum()) for at, name in enumerate(classes)} for labels in (ours, theirs))
    p = _classes(now, then)
    sentence = f"Class shares do not differ significantly from before (p = {p:.2g})."
    if p <= level:
        each = "; ".join(
            f"{name} {n / len(ours):.1%}, before {then[name] / len(theirs):.1%}" for name, n in now.items()
        )
        sentence = f"Class shares differ from before (p = {p:.2g}), which does not count as drift: {each}."
    fresh = [f"{name} ({n:,} images)" for name, n in now.items() if n and not then[name]]
    return p, (sentence, *([f"New classes: {', '.join(fresh)}."] if fresh else []))


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


def _more(hits: int, images: int, share: float) -> float:
    """P-value of a binomial test whether a share is larger."""
    from scipy.stats import binomtest

    return float(binomtest(hits, images, share, "greater").pvalue) if images else 1.0
