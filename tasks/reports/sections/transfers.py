"""Whether the pretrained weights helped: a section of a run's page, and the tables of `headstart compare`."""

from tasks.records import CurvesRef, Gap, TransferRef
from tasks.reports.blocks import Block, Text, table

NAMES = {
    "pretrained": "Linear probe on the pretrained network",
    "random": "Linear probe on the same network with random weights",
    "majority": "Always the most frequent class",
}


def section(transfer: TransferRef) -> list[Block]:
    """A sentence, and the scores if there was a check."""
    text = Text(transfer.sentence)
    if not transfer.images:
        return [text]
    rows = [
        (NAMES[who], f"{found['accuracy']:.4f}", f"{found['log_loss']:.4f}") for who, found in transfer.scores.items()
    ]
    said = (
        f"Fitted on {transfer.images} training images, standardised, scored on {_scored(transfer)}. 95 % "
        "intervals are in brackets."
    )
    return [text, Text(said), table({"what": False, "accuracy": True, "log loss": True}, rows)]


def _scored(transfer: TransferRef) -> str:
    """The images that the probes were scored on, and how many of their groups are independent."""
    text = f"{transfer.validated} validation images"
    return f"{text} of {transfer.units} independent groups" if transfer.units < transfer.validated else text


def tables(curves: CurvesRef) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Learning curves, and what transfer gains at each number of images; one dictionary per row."""
    levels = [
        {
            "method": level.method,
            "images": f"{level.images:,}",
            "pixels": str(level.side),
            "accuracy": f"{level.accuracy:.4f}",
            "95 % interval": f"{level.low:.4f} to {level.high:.4f}",
            "log loss": f"{level.log_loss:.4f}",
            "seconds": f"{level.seconds:.1f}",
        }
        for level in curves.levels
    ]
    gains = [
        {
            "images": f"{gap.images:,}",
            "transfer": gap.transfer,
            "from scratch": gap.scratch,
            "trainings": f"{gap.trainings}",
            "gain, points": f"{100 * gap.gain.value:+.1f}",
            "95 % interval, of all sizes": _interval(gap),
        }
        for gap in curves.gaps
    ]
    return levels, gains


def _interval(gap: Gap) -> str:
    if gap.trainings < 2:
        return "unknown, of one training"
    return f"{100 * gap.gain.low:+.1f} to {100 * gap.gain.high:+.1f}"
