"""The ranking of backbones, as a CSV file and as a part of the page."""

from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.records import RankingRef
from tasks.reports.sections.html import table


def write(rows: list[dict[str, Any]], to: Path) -> None:
    """Write the rows as CSV."""
    pd.DataFrame(rows).to_csv(to, index=False)


def section(ranking: RankingRef | None) -> str:
    """HTML: the candidates from the most promising on; nothing where the recipe named its backbone."""
    if ranking is None:
        return ""
    found = ranking.table()
    columns = {column.replace("_", " "): False for column in found[0]}
    return (
        f"<p>{escape(ranking.chosen.name)} was taken. The scores are of the frozen features of "
        f"{ranking.images} training images; higher is better in each, and the rank is the mean of the ranks in them. "
        f"It is a prediction, made before any training.</p>"
        + table(columns, ([escape(str(value)) for value in row.values()] for row in found))
    )
