"""The part of an evaluation's page that says whether the pretrained weights helped."""

from html import escape

from tasks.records import TransferRef

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
    rows = "".join(
        f'<tr><td>{NAMES[who]}</td><td class="n">{found["accuracy"]:.4f}</td>'
        f'<td class="n">{found["log_loss"]:.4f}</td></tr>'
        for who, found in transfer.scores.items()
    )
    head = '<tr><th>what</th><th class="n">accuracy</th><th class="n">log loss</th></tr>'
    return (
        f"{text}<p>Fitted on {transfer.images} training images, standardised, scored on validation images. In brackets "
        f'stand 95 % intervals.</p><div class="wide"><table>{head}{rows}</table></div>'
    )
