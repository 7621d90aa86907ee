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
        f"{table(columns, rows) if rows else ''}<p>{_budget(verdict)}</p>"
    )


def _budget(verdict: Verdict) -> str:
    if not verdict.opponent:
        return "There was no champion to compare with, so this decision does not count against the test images."
    before = (
        f"{verdict.worn} decisions between two models used some of these test images before"
        if verdict.worn
        else "No decision between two models used any of these test images before"
    )
    return (
        f"Compared with version {escape(verdict.opponent)}. {before}; each uses a part of the significance level, "
        f"and this one had {verdict.level:.2%}. New test images start again at zero. Test set {verdict.test_set}."
    )
