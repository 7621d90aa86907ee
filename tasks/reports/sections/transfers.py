"""The part of an evaluation's page that says whether the pretrained weights helped."""

from html import escape

from tasks.records import TransferRef
from tasks.reports.sections.html import table

NAMES = {
    "pretrained": "Linear probe on the pretrained network",
    "random": "Linear probe on the same network with random weights",
    "majority": "Always the most frequent class",
}


def section(transfer: TransferRef) -> str:
    """A sentence, and the scores where there was a check."""
    text = f"<p>{escape(transfer.sentence)}</p>"
    if not transfer.images:
        return text
    rows = [
        (NAMES[who], f"{found['accuracy']:.4f}", f"{found['log_loss']:.4f}") for who, found in transfer.scores.items()
    ]
    return (
        f"{text}<p>Fitted on {transfer.images} training images, standardised, scored on validation images. In brackets "
        f"stand 95 % intervals.</p>{table({'what': False, 'accuracy': True, 'log loss': True}, rows)}"
    )
