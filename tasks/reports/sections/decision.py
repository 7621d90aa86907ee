"""The page's first section: the decision about the model, and its gates."""

from tasks.records import Findings, Verdict
from tasks.reports.blocks import Block, Strong, Text, table

WORDS = {
    "promote": "Promote",
    "keep": "Keep the champion",
    "undecided": "Undecided",
}


def summary(found: Findings) -> dict[str, str]:
    """What a person who decides wants to know first, by its heading."""
    reason = found.verdict.reason
    for gate in found.verdict.gates:
        reason = reason.replace(f"{gate.gate}:", f"{gate.gate.replace('_', ' ')}:")
    return {"Why": f"{reason[:1].upper()}{reason[1:]}.", "How sure": _sure(found), "What to do next": _next(found)}


def _sure(found: Findings) -> str:
    """The accuracy, and the difference from the champion, each with its interval."""
    report, images = found.report, found.dataset.counts["test"]
    value, (low, high) = report.metrics["accuracy"], report.intervals["accuracy"]
    alone = report.independent is None or report.independent >= images
    copied = found.audit.copied.get("test", 0) if found.audit else 0
    said = (
        f"{value:.1%} of the {images} test images"
        + ("" if alone else f" ({report.independent} of them are independent)")
        + " are answered right. None of them was used to train or to choose"
        + (f", but {copied} have a near-copy that was: see Slices" if copied else "")
        + f". Of other images like them, expect {low:.1%} to {high:.1%} (95 % interval)."
    )
    against = next((result.numbers for result in found.verdict.gates if "gain_low" in result.numbers), None)
    if against is None:
        return said
    metric = next(name for name in against if f"champion_{name}" in against)
    gain, low, high = (against[name] for name in ("gain", "gain_low", "gain_high"))
    difference = f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"
    if metric == "accuracy":
        difference = f"{100 * gain:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{said} Its {metric} beside that of the champion, version {found.verdict.opponent}: {difference}."


def _next(found: Findings) -> str:
    version, more = found.version, max((result.more or 0 for result in found.verdict.gates), default=0)
    by_hand = f"`headstart promote {version.name} {version.version}` makes it the champion all the same."
    if version.note:
        return f"It {version.note}."
    if "champion" in version.aliases:
        gets = f"whoever loads {version.name}@champion gets it"
        if found.verdict.opponent:
            back = f"If it disappoints, `headstart rollback {version.name}` brings back the one before."
            return f"Nothing: it is the champion, and {gets}. {back}"
        return (
            f"It is the first champion, and {gets}. Nothing was there to compare it with: before you rely on it, look "
            "at the recall of each class, at the worst mistakes, and at what the audit found."
        )
    if found.verdict.decision == "undecided" and more:
        return f"Label about {more:,} more test images, and run the recipe again. {by_hand}"
    stays = "The champion stays." if found.verdict.opponent else "No version is the champion."
    return (
        f"{stays} Look at the worst mistakes and at the classes with the lowest recall; correct or add such "
        f"photos, and run the recipe again. {by_hand}"
    )


def section(verdict: Verdict) -> list[Block]:
    """Each gate, and how often the test images were used for decisions."""
    rows = [
        (result.gate, Strong(result.outcome), f"{result.more:,}" if result.more else "", result.reason)
        for result in verdict.gates
    ]
    columns = {"gate": False, "answer": False, "more images needed": True, "reason": False}
    return [*([table(columns, rows)] if rows else []), *_both_ways(verdict), Text(_budget(verdict))]


def _both_ways(verdict: Verdict) -> list[Block]:
    """The comparison with the champion by groups, and as it were if each image stood alone; empty where each does."""
    result = next((one for one in verdict.gates if "decided_by_images" in one.numbers), None)
    if result is None:
        return []
    found = result.numbers
    alone = "passed" if found["gain"] > -found["margin"] else "failed"
    ends = [f"{found[f'gain_low{by}']:+.4f} to {found[f'gain_high{by}']:+.4f}" for by in ("_by_images", "")]
    rows = [
        ("gain", f"{found['gain']:+.4f}", *ends),
        ("p-value", "", f"{found['p_by_images']:.2g}", f"{found['p']:.2g}"),
        ("answer", "", alone if found["decided_by_images"] else "undecided", Strong(result.outcome)),
    ]
    columns = {"against the champion": False} | dict.fromkeys(("value", "by images", "by groups"), True)
    said = (
        f"{found['independent']:.0f} of the {found['images']:.0f} compared images are independent: images of one "
        "group, and near-duplicates, count once. The verdict rests on the last column."
    )
    return [Text(said), table(columns, rows)]


def _budget(verdict: Verdict) -> str:
    before = (
        f"{verdict.worn} decisions between two models used some of these test images before"
        if verdict.worn
        else "No decision between two models used any of these test images before"
    )
    if not verdict.opponent:
        return f"There was no other model to compare with: this version was judged by the gates above alone. {before}."
    return (
        f"Compared with version {verdict.opponent}. {before}; each uses a part of the significance level, "
        f"and this one had {verdict.level:.2%}. New test images start again at zero. Test set {verdict.test_set}."
    )
