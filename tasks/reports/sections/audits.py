"""The page's section on problems in the data, and the pictures of copies and of label suspects."""

import base64
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.records import AuditRef, DuplicatePair
from tasks.reports.sections.html import table

#: Share of suspected labels above which the model is more to blame than the labels.
MANY = 0.15
LONGEST = 22  # letters of a label in a picture
#: Photos in a row; their side, the gap between them and the height of a caption, pixels.
ACROSS, TILE, GAP, CAPTION = 4, 224, 12, 40


def draw_pairs(pixels: np.ndarray, pairs: pd.DataFrame, to: Path) -> None:
    """Copy and original side by side: uint8[2 * pairs, h, w, 3], one pair after the other, with what they share."""
    captions = [
        f"{row[f'{side}_split']}: {_short(row[f'{side}_label'])}\n"
        + (f"{row['change']}" if side == "copy" else f"correlation {row['similarity']:.3f}")
        for row in pairs.to_dict("records")
        for side in ("copy", "original")
    ]
    _grid(pixels, captions, "Copies in different splits" if len(pairs) else "No copies found in different splits", to)


def draw_suspects(pixels: np.ndarray, suspects: pd.DataFrame, to: Path) -> None:
    """uint8[n, h, w, 3] of rows of (split, label, suggested), the most suspicious first."""
    captions = [
        f"{row['split']}: {_short(row['label'])}\nsuggested {_short(row['suggested'])}"
        for row in suspects.to_dict("records")
    ]
    _grid(pixels, captions, "Labels to check first" if len(suspects) else "No labels were judged", to)


def _grid(pixels: np.ndarray, captions: list[str], title: str, to: Path) -> None:
    """A title, and below it photos of one size, each under its caption of two lines."""
    # Pillow: a Matplotlib figure with this many axes takes 1.5 seconds.
    from PIL import Image, ImageDraw, ImageFont

    font, large = ImageFont.load_default(13), ImageFont.load_default(18)
    rows = -(-len(pixels) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * (TILE + GAP) + GAP, 40 + rows * (TILE + GAP + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 10), title, "black", large)
    for at, (image, caption) in enumerate(zip(pixels, captions, strict=True)):
        left, top = GAP + at % ACROSS * (TILE + GAP), 40 + at // ACROSS * (TILE + GAP + CAPTION)
        draw.multiline_text((left, top), caption, "black", font, spacing=2)
        sheet.paste(Image.fromarray(image).resize((TILE, TILE)), (left, top + CAPTION))
    sheet.save(to)


def section(audit: AuditRef, folder: Path) -> str:
    """HTML: copies across splits, label suspects and shortcuts, pictures inside. `folder`: the home folder."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in audit.notes)
    if not audit.path:
        return notes
    return (
        f"<h3>Copies in different splits</h3>{_copies(audit)}"
        + (_picture(folder / audit.duplicates_picture, "Copies in different splits") if audit.pairs else "")
        + f"<h3>Label suspects</h3>{_labels(audit)}"
        + (_picture(folder / audit.suspects_picture, "Label suspects") if audit.suspects else "")
        + f"<h3>Shortcuts</h3>{_shortcuts(audit)}{notes}"
    )


def _copies(audit: AuditRef) -> str:
    within = f" {audit.within} further pairs are within one split, and count as one image each." if audit.within else ""
    if not audit.duplicates:
        none = "No copy in another split was found, not even a cropped, turned or recompressed one."
        return f"<p>{none}{within}</p>"
    columns = {"copy": False, "original": False, "change": False, "correlation": True} | dict.fromkeys(
        ("cosine of features", "hash bits that differ"), True
    )
    rows = [
        (
            *(f"{split}: {escape(label)}, {_name(uri)}" for uri, split, label in zip(*_sides(pair), strict=True)),
            escape(pair.change),
            f"{pair.similarity:.3f}",
            f"{pair.cosine:.3f}",
            str(pair.bits),
        )
        for pair in audit.pairs
    ]
    counts = ", ".join(f"{n} {split} images" for split, n in audit.copied.items() if n)
    return (
        f"<p>{audit.duplicates} pairs of images in different splits show the same: {counts}. {audit.same_pixels} pairs "
        f"are equal pixel by pixel, {audit.conflicting} have different labels. Training may have seen what a test "
        f"image shows, so scores may be too high: Slices compares test images with and without a copy if they are "
        f"enough. To keep a pair in one split, give both images the same group "
        f"(duplicates.csv suggests one).{within} The most similar first:</p>{table(columns, rows)}"
    )


def _sides(pair: DuplicatePair) -> tuple[tuple[str, str], ...]:
    return pair.uris, pair.splits, pair.labels


def _labels(audit: AuditRef) -> str:
    judged, suspected = (sum(counts.values()) for counts in (audit.judged, audit.suspected))
    if not judged:
        return "<p>No label was judged.</p>"
    rows = [
        (escape(one.split), escape(one.label), escape(one.suggested), f"{one.score:.3f}", _name(one.uri))
        for one in audit.suspects
    ]
    where = ", ".join(f"{n} {split}" for split, n in audit.suspected.items())
    columns = {"split": False, "label": False, "suggested": False, "score": True, "file": False}
    many = "That is so many that most may be mistakes of this model. " if suspected > MANY * judged else ""
    return (
        f"<p>Confident learning counts {suspected} of {judged} labels ({where}) as wrong, with a linear model that had "
        f"not seen the image. {many}Some are hard photos with the right label, so check them. label_suspects.csv ranks "
        f"all labels; fill in the column corrected and run <code>headstart labels apply FILE</code>. Nothing changes "
        f"before that. The score is from 0, a label that is very unlikely, to 1:</p>"
        f"{table(columns, rows)}"
    )


def _shortcuts(audit: AuditRef) -> str:
    if not audit.shortcuts:
        return "<p>Nothing to report: brightness, size and format are the same for all, or classes are too small.</p>"
    rows = [
        (
            escape(one.facts),
            f"{one.score:.3f}",
            f"{one.interval[0]:.3f} to {one.interval[1]:.3f}",
            f"{one.chance:.3f}",
            "<b>predicts the label</b>" if one.flagged else "",
        )
        for one in audit.shortcuts
    ]
    columns = {"facts": False, "balanced accuracy": True, "95 % interval": True, "majority class": True, "flag": False}
    return (
        "<p>How well a small decision tree predicts the label of training images from these facts alone, "
        "cross-validated. If that is well above the majority class, a network may learn the fact instead of what the "
        f"photo shows; but brightness may also belong to what the classes mean.</p>{table(columns, rows)}"
    )


def _picture(file: Path, what: str) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{escape(what)}" src="data:image/png;base64,{data}">'


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def _name(uri: str) -> str:
    return escape(Path(uri).name)
