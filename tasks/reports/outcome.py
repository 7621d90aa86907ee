"""The outcome of a training run as Markdown, for Prefect's page of the flow run."""

from tasks.records import Outcome
from tasks.reports.sections.scores import ends
from tasks.runtime import escapes


def markdown(outcome: Outcome) -> str:
    """The verdict, the scores with their intervals, and the stages."""
    found = outcome.report.intervals
    scores = [f"| {n} | {v:.4f} | {ends(found[n])} |" for n, v in outcome.report.metrics.items()]
    stages = [f"| {n} | {log.seconds:.1f} | {'yes' if log.cached else 'no'} |" for n, log in outcome.stages.items()]
    return "\n".join(
        [
            f"# {escapes.markdown(outcome.version.name)} version {outcome.version.version}: {outcome.verdict.decision}",
            escapes.markdown(outcome.verdict.reason),
            "",
            "| metric | value | 95 % interval |\n|---|---|---|",
            *scores,
            "",
            "| stage | seconds | cached |\n|---|---|---|",
            *stages,
        ]
    )
