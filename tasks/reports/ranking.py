"""The ranking of backbones, as a CSV file and as a part of the page."""

from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.records import RankingRef


def write(table: list[dict[str, Any]], to: Path) -> None:
    """Write the rows as CSV."""
    pd.DataFrame(table).to_csv(to, index=False)


def section(ranking: RankingRef | None) -> str:
    """HTML: the candidates from the most promising on; nothing where the recipe named its backbone."""
    if ranking is None:
        return ""
    table = ranking.table()
    head = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in table[0])
    rows = "".join(f"<tr>{''.join(f'<td>{escape(str(value))}</td>' for value in row.values())}</tr>" for row in table)
    return (
        f"<h2>Which backbone</h2><p>{escape(ranking.chosen.name)} was taken. The scores are of the frozen features of "
        f"{ranking.images} training images; higher is better in each, and the rank is the mean of the ranks in them. "
        f'It is a prediction, made before any training.</p><div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
    )
