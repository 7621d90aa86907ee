"""Are new images like the ones before? Tests of samples, each with the chance of so large a difference by accident.

Drift libraries that were looked at: frouros (requests < 2.33) and alibi-detect (Pillow < 11) cannot be installed beside
our MLflow and Pillow; evidently can, with some 40 more packages, but fits components to the old images alone, and does
not compare images within their classes, without which other shares of the classes are taken for drift.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tasks.evaluation.statistics import two_samples
from tasks.records import Drift

#: A p-value below is reported as drift, the smallest of several being multiplied by their number (Bonferroni).
LEVEL = 0.05
#: Images of each sample that a comparison needs, and that it takes at most.
LEAST, MOST = 10, 2000
#: Shuffles at least, and how many of them may exceed what was found for the strictest of several tests to say so.
DRAWS, BORNE = 999, 5
#: Expected images of a class below which the chi-squared distribution does not hold.
EXPECTED = 5
UNLABELLED = "The new images have no labels: other shares of the classes count as drift."


def of_answers(
    said: Mapping[str, int], before: Mapping[str, int], novel: int | None, false_alarms: float
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Sentences and p-values: of the classes that were named, against `before`, and of how many images are new.

    `said`, `before`: images by the class that the same version calls them. `novel`: images that it calls new, of which
    images like the others are `false_alarms` at most.
    """
    p = {"classes": _classes(said, before)}
    images = sum(said.values())
    sentences = {"classes": f"Classes are named as often as among the validation images (p = {p['classes']:.2g})."}
    level = LEVEL / (1 if novel is None else 2)
    if p["classes"] < level:
        shares = (
            f"{name} {n / images:.1%}, before {before[name] / sum(before.values()):.1%}" for name, n in said.items()
        )
        sentences["classes"] = f"Classes are named in other shares (p = {p['classes']:.2g}): {'; '.join(shares)}."
    if novel is not None:
        p["novelty"] = _more(novel, images, false_alarms)
        more = "More images than expected are" if p["novelty"] < level else "No more images than expected are"
        sentences["novelty"] = (
            f"{more} unlike the training images: {novel / max(images, 1):.1%} (p = {p['novelty']:.2g}), "
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
    """Whether new pictures differ, by a frozen network's features of them, float[n, values], and before, float[m, …].

    Labels, int[n] and int[m], are places in `classes`. Where the new images have them, images are compared within
    their class, and other shares of the classes are told apart from drift; else such shares count as drift. Where
    nothing has changed, `drifted` is wrong with the chance `level` at most, over all its tests. Images are taken to be
    independent of each other: many of one scene are soon called drift.
    """
    if new_labels is None:
        alike = np.zeros(len(new), int), np.zeros(len(before), int)
        found = _pictures(new, before, *alike, (), seed, level)
        return replace(found, sentences=(*found.sentences, UNLABELLED))
    found = _pictures(new, before, new_labels, before_labels, classes, seed, level)
    shares, told = _shares(new_labels, before_labels, classes, level)
    return replace(found, shares=shares, sentences=(*found.sentences, *told))


def _pictures(
    new: np.ndarray,
    before: np.ndarray,
    new_labels: np.ndarray,
    before_labels: np.ndarray,
    classes: Sequence[str],
    seed: int,
    level: float,
) -> Drift:
    """What differs within labels, and in which of `classes`, where they have names."""
    rows, old_rows = _drawn(new_labels, before_labels, np.random.default_rng(seed))
    sizes = len(rows), len(old_rows)
    if min(sizes) < LEAST:
        few = f"{sizes[0]:,} new images and {sizes[1]:,} before can be compared, of {LEAST} each"
        return Drift(False, (f"Too few images to tell drift of the pictures: {few}.",), *sizes, level)
    labels, old_labels = new_labels[rows], before_labels[old_rows]
    tested = _large(labels, old_labels) if classes else []
    draws = max(DRAWS, round(BORNE * (2 + len(tested)) / level))
    found = two_samples.compare(new[rows], before[old_rows], labels, old_labels, draws, seed)
    energy, classifier, *each = _holm([found.energy, found.classifier, *(found.classes[at] for at in tested)])
    named = {classes[at]: p for at, p in zip(tested, each, strict=True)}
    small = [classes[at] for at in np.unique(new_labels) if at not in tested] if classes else []
    drift = Drift(min(energy, classifier, *each) <= level, (), *sizes, level)
    drift = replace(drift, p={"energy": energy, "classifier": classifier}, classes=named, auc=found.auc)
    return replace(drift, sentences=tuple(_said(drift, small)))


def _drawn(ours: np.ndarray, theirs: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of either sample to compare: of labels that both have twice or more, as many as are affordable."""
    common = [label for label in np.unique(ours) if min((ours == label).sum(), (theirs == label).sum()) > 1]
    most = max(LEAST, MOST // max(len(common), 1))
    found = []
    for labels in (ours, theirs):
        rows = [random.permutation(np.flatnonzero(labels == label))[:most] for label in common]
        found.append(np.sort(np.concatenate([np.empty(0, int), *rows])))
    return found[0], found[1]


def _large(ours: np.ndarray, theirs: np.ndarray) -> list[int]:
    """Labels with enough images of either sample to be compared by themselves."""
    return [int(at) for at in np.unique(ours) if min((ours == at).sum(), (theirs == at).sum()) >= LEAST]


def _holm(p: list[float]) -> list[float]:
    """Corrected for their number: Holm 1979, Scandinavian Journal of Statistics 6:65-70."""
    from statsmodels.stats.multitest import multipletests

    return [float(each) for each in multipletests(p, method="holm")[1]]


def _said(drift: Drift, small: Sequence[str]) -> Iterator[str]:
    """What the tests of the pictures say, for people; `small`: classes that are not compared by themselves."""
    verdict = "The pictures have drifted" if drift.drifted else "No drift of the pictures is told"
    judged = f"p-values are corrected for {2 + len(drift.classes)} tests, up to {drift.level:g} is drift"
    yield f"{verdict}: {drift.new:,} new images were compared with {drift.before:,} before; {judged}."
    energy, classifier = drift.p["energy"], drift.p["classifier"]
    where = "elsewhere than" if energy <= drift.level else "where"
    yield f"Their features lie {where} those before did (energy distance, p = {energy:.2g})."
    knows = "more often than by chance" if classifier <= drift.level else "no more often than by chance"
    yield f"A classifier tells a new image from one before in {drift.auc:.0%} of pairs, {knows} (p = {classifier:.2g})."
    differ = [f"{name} (p = {p:.2g})" for name, p in drift.classes.items() if p <= drift.level]
    if drift.classes:
        smallest = min(drift.classes.values())
        alike = f"No class differs by itself (p = {smallest:.2g} at least)."
        yield f"By themselves differ {', '.join(differ)}." if differ else alike
    if small:
        yield f"Too few images to be compared by themselves ({LEAST} new and {LEAST} before): {', '.join(small)}."


def _shares(
    ours: np.ndarray, theirs: np.ndarray, classes: Sequence[str], level: float
) -> tuple[float, tuple[str, ...]]:
    """P-value of a difference in the classes' shares, and what there is to say of them."""
    now, then = ({name: int((labels == at).sum()) for at, name in enumerate(classes)} for labels in (ours, theirs))
    p = _classes(now, then)
    said = f"Classes come in the same shares as before, as far as can be told (p = {p:.2g})."
    if p <= level:
        each = "; ".join(
            f"{name} {n / len(ours):.1%}, before {then[name] / len(theirs):.1%}" for name, n in now.items()
        )
        said = f"Classes come in other shares than before (p = {p:.2g}), which is no drift of the pictures: {each}."
    fresh = [f"{name} ({n:,} images)" for name, n in now.items() if n and not then[name]]
    return p, (said, *([f"There was none before of {', '.join(fresh)}."] if fresh else []))


def _classes(said: Mapping[str, int], before: Mapping[str, int]) -> float:
    """Of a chi-squared test of two rows of counts, simulated where they are small; 1 where nothing can be compared."""
    from scipy.stats import MonteCarloMethod, chi2_contingency
    from scipy.stats.contingency import expected_freq

    counts = np.array([[said[name], before.get(name, 0)] for name in said])
    counts = counts[counts.sum(axis=1) > 0]
    if len(counts) < 2 or (counts.sum(axis=0) == 0).any():
        return 1.0
    if expected_freq(counts).min() >= EXPECTED:
        return float(chi2_contingency(counts).pvalue)
    return float(chi2_contingency(counts, correction=False, method=MonteCarloMethod(rng=0)).pvalue)


def _more(hits: int, images: int, share: float) -> float:
    """Of a binomial test whether a share is larger."""
    from scipy.stats import binomtest

    return float(binomtest(hits, images, share, "greater").pvalue) if images else 1.0
