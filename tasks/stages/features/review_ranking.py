"""Review ranking: each backbone's predicted rank, beside the results of runs that trained on it."""

from functools import partial

from tasks.features import transferability
from tasks.records import AgreementRef, Predicted, RankingRef, digest
from tasks.reports.sections import ranking as report
from tasks.services import tracking
from tasks.services.orchestration.stage import stage

#: Tags: one is equal for runs that differ only in the backbone, the other names the backbone.
COMPARABLE, BACKBONE = "headstart.comparable", "headstart.backbone"
LOG_LOSS, ACCURACY = "validation_log_loss", "validation_accuracy"


def _results(ranking: RankingRef, comparable: str) -> dict[str, tuple[float, float]]:
    """Validation log loss and accuracy by backbone, of the newest run on each."""
    runs = tracking.results(COMPARABLE, comparable)
    return {tags[BACKBONE]: (metrics[LOG_LOSS], metrics[ACCURACY]) for tags, metrics in reversed(runs)}


@stage(version=1, reads=_results)
def review_ranking(ranking: RankingRef, comparable: str) -> AgreementRef:
    """Spearman's correlation of the ranking with the validation log loss, over the backbones that were trained on.

    `comparable`: the tag's value. A run with another backbone, forced by `--set backbone.kind=…`, adds its result; the
    table is made in the next run that ranks.
    """
    real = _results(ranking, comparable)
    rows = tuple(
        Predicted(row.name, row.rank, *real.get(row.name, (None, None))) for row in ranking.rows if not row.skipped
    )
    pairs = [(row.predicted_rank, row.log_loss) for row in rows if row.log_loss is not None]
    found = transferability.spearman([rank for rank, _ in pairs], [loss for _, loss in pairs])
    agreement = AgreementRef(digest("agreement", ranking, rows), rows, found)
    tracking.log_drawn("predicted_against_real.csv", partial(report.write, report.agreement(agreement)))
    return agreement
