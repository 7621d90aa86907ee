"""The ranking of backbones, as a CSV file and as a part of the page."""

from pathlib import Path
from typing import Any

import pandas as pd

from tasks.records import AgreementRef, RankingRef
from tasks.reports.blocks import Block, Text, of_rows
from tasks.runtime import escapes


def write(rows: list[dict[str, Any]], to: Path) -> None:
    """Write the rows as CSV."""
    escapes.write_csv(pd.DataFrame(rows), to)


def candidates(ranking: RankingRef) -> list[dict[str, Any]]:
    """A row for each candidate, the most promising first."""
    return [
        {"backbone": row.name, "rank": "" if row.skipped else round(row.rank, 2)}
        | {name: round(row.scores[name], 4) if row.scores else "" for name in ranking.chosen.scores}
        | {
            "pixels": row.size or "",
            "parameters": row.parameters or "",
            "images_per_second": row.images_per_second or "",
            "seconds": round(row.seconds, 1) or "",
            "skipped": row.skipped,
        }
        for row in ranking.rows
    ]


def agreement(found: AgreementRef) -> list[dict[str, Any]]:
    """A row for each backbone: the rank that was predicted, and the results of training."""
    return [
        {
            "backbone": row.name,
            "predicted rank": round(row.predicted_rank, 2),
            "validation log loss": "" if row.log_loss is None else round(row.log_loss, 4),
            "validation accuracy": "" if row.accuracy is None else round(row.accuracy, 4),
        }
        for row in found.rows
    ]


def section(ranking: RankingRef | None) -> list[Block]:
    """The candidates, the most promising first; empty if the recipe names its backbone."""
    if ranking is None:
        return []
    said = (
        f"{ranking.chosen.name} was chosen. The scores rate the frozen features of {ranking.images} "
        f"training images, higher is better; the rank is the mean of the ranks by each score. It is a prediction, "
        "made before any training."
    )
    return [Text(said), of_rows(candidates(ranking))]
