"""The page's first section: the decision about the model, and its gates."""

from html import escape

from tasks.records import Verdict, VersionRef
from tasks.reports.sections.html import table

WORDS = {
    "promote": "Promote",
    "keep": "Keep the champion",
    "undecided": "Undecided",
}


def section(verdict: Verdict, version: VersionRef) -> str:
    """The decision in a word, the reason, each gate, and how often the test images were used for decisions."""
    rows = [
        (
            escape(result.gate),
            f"<b>{result.outcome}</b>",
            f"{result.more:,}" if result.more else "",
            escape(result.reason),
        )
        for result in verdict.gates
    ]
    columns = {"gate": False, "answer": False, "more images needed": True, "reason": False}
    return (
        f'<div class="decision {verdict.decision}"><strong>{WORDS[verdict.decision]}</strong> '
        f"{escape(version.name)} version {escape(version.version)}. {escape(verdict.reason)}.</div>"
        f"{table(columns, rows) if rows else ''}{_both_ways(verdict)}<p>{_budget(verdict)}</p>"
    )


def _both_ways(verdict: Verdict) -> str:
    """The comparison with the champion by groups, and as it were if each image stood alone; empty where each does."""
    result = next((one for one in verdict.gates if "decided_by_images" in one.numbers), None)
    if result is None:
        return ""
    found = result.numbers
    alone = "passed" if found["gain"] > -found["margin"] else "failed"
    ends = [f"{found[f'gain_low{by}']:+.4f} to {found[f'gain_high{by}']:+.4f}" for by in ("_by_images", "")]
    rows = [
        ("gain", f"{found['gain']:+.4f}", *ends),
        ("p-value", "", f"{found['p_by_images']:.2g}", f"{found['p']:.2g}"),
        ("answer", "", alone if found["decided_by_images"] else "undecided", f"<b>{result.outcome}</b>"),
    ]
    columns = {"against the champion": False} | dict.fromkeys(("value", "by images", "by groups"), True)
    return (
        f"<p>{found['independent']:.0f} of the {found['images']:.0f} compared images are independent: images of one "
        f"group, and near-duplicates, count once. The verdict rests on the last column.</p>{table(columns, rows)}"
    )


def _budget(verdict: Verdict) -> str:
    if not verdict.opponent:
        return (
            "There was no other model to compare with: this version was judged by the gates above alone. The test "
            "images are still unused for decisions."
        )
    before = (
        f"{verdict.worn} decisions between two models used some of these test images before"
        if verdict.worn
        else "No decision between two models used any of these test images before"
    )
    return (
        f"Compared with version {escape(verdict.opponent)}. {before}; each uses a part of the significance level, "
        f"and this one had {verdict.level:.2%}. New test images start again at zero. Test set {verdict.test_set}."
    )
