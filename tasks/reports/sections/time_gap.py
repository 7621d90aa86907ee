"""The page's section on time: the newest images beside random older ones."""

from tasks.records import TimeGap
from tasks.reports.blocks import Block, Text, table
from tasks.reports.sections.scores import ends

#: Of the sentence.
METRIC = "accuracy"


def sentence(found: TimeGap) -> str:
    """What the future will probably look like."""
    newest, older = found.newest, found.older
    if not found.gaps:
        return (
            f"What time changes cannot be told yet: {newest.independent} independent newest images and "
            f"{older.independent} older ones, which no stage has used, are too few. They become more as the data grow, "
            f"the older ones also with a larger split.older."
        )
    low, high = found.intervals[METRIC]
    if low <= 0 <= high:
        what = "Whether time changes anything cannot be told; later images may differ by as much as this interval says."
    elif high < 0:
        what = "The model does worse on newer images: expect the newest images' scores from now on, or lower ones."
    else:
        what = "The newest images are easier for the model; do not count on it for later ones."
    gap = f"{found.gaps[METRIC]:+.4f} ({ends(found.intervals[METRIC], '+.4f')})"
    return (
        f"On the {newest.images} newest images ({newest.first} to {newest.last}) the {METRIC} is "
        f"{newest.metrics[METRIC]:.4f}, on {older.images} random older ones ({older.first} to {older.last}) it is "
        f"{older.metrics[METRIC]:.4f}: a gap of {gap}. {what}"
    )


def section(found: TimeGap | None) -> list[Block]:
    """The scores on both with their intervals, and the gaps; empty where images were not split by time."""
    if found is None:
        return []
    text = Text(sentence(found))
    if not found.gaps:
        return [text]
    rows = [
        (
            name,
            *(f"{each.metrics[name]:.4f} ({ends(each.intervals[name])})" for each in (found.newest, found.older)),
            f"{gap:+.4f}",
            ends(found.intervals[name], "+.4f"),
        )
        for name, gap in found.gaps.items()
    ]
    columns = {"metric": False} | dict.fromkeys(("newest", "random older", "gap", "95 % interval"), True)
    said = (
        "No stage was trained or steered on any of these images, nor on copies of them. Test images with "
        f"such copies, and classes that only one side has, are left out. Of the newest {found.newest.independent} "
        f"images are independent, of the older {found.older.independent}."
    )
    return [text, Text(said), table(columns, rows)]
