"""The page's section on problems in the data, and the pictures of copies and of label suspects."""

from pathlib import Path

import numpy as np
import pandas as pd

from tasks.records import AuditRef, DuplicatePair
from tasks.reports.blocks import Block, Heading, Picture, Strong, Text, table

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


def section(audit: AuditRef, folder: Path) -> list[Block]:
    """Copies across splits, label suspects and shortcuts, with pictures. `folder`: the home folder."""
    notes = [Text(note) for note in audit.notes]
    if not audit.path:
        return [*notes]
    copies, suspects = "Copies in different splits", "Label suspects"
    return [
        Heading(copies),
        *_copies(audit),
        *([Picture(copies, folder / audit.duplicates_picture)] if audit.pairs else []),
        Heading(suspects),
        *_labels(audit),
        *([Picture(suspects, folder / audit.suspects_picture)] if audit.suspects else []),
        Heading("Shortcuts"),
        *_shortcuts(audit),
        *notes,
    ]


def _copies(audit: AuditRef) -> list[Block]:
    within = f" {audit.within} further pairs are within one split, and count as one image each." if audit.within else ""
    if not audit.duplicates:
        none = "No copy in another split was found, not even a cropped, turned or recompressed one."
        return [Text(none + within)]
    columns = {"copy": False, "original": False, "change": False, "correlation": True} | dict.fromkeys(
        ("cosine of features", "hash bits that differ"), True
    )
    rows = [
        (
            *(f"{split}: {label}, {_name(uri)}" for uri, split, label in zip(*_sides(pair), strict=True)),
            pair.change,
            f"{pair.similarity:.3f}",
            f"{pair.cosine:.3f}",
            str(pair.bits),
        )
        for pair in audit.pairs
    ]
    counts = ", ".join(f"{n} {split} images" for split, n in audit.copied.items() if n)
    said = (
        f"{audit.duplicates} pairs of images in different splits look alike: {counts}. {audit.same_pixels} pairs "
        f"are equal pixel by pixel, {audit.conflicting} have different labels. Training may have seen what a test "
        f"image shows, so scores may be too high: Slices compares test images with and without a copy, of a copy "
        f"too, if there are enough. To keep a pair in one split, give both images the same group "
        f"(duplicates.csv suggests one).{within} The most similar first:"
    )
    return [Text(said), table(columns, rows)]


def _sides(pair: DuplicatePair) -> tuple[tuple[str, str], ...]:
    return pair.uris, pair.splits, pair.labels


def _labels(audit: AuditRef) -> list[Block]:
    judged, suspected = (sum(counts.values()) for counts in (audit.judged, audit.suspected))
    if not judged:
        return [Text("No label was judged.")]
    rows = [(one.split, one.label, one.suggested, f"{one.score:.3f}", _name(one.uri)) for one in audit.suspects]
    where = ", ".join(f"{n} {split}" for split, n in audit.suspected.items())
    columns = {"split": False, "label": False, "suggested": False, "score": True, "file": False}
    many = "That is so many that most may be mistakes of this model. " if suspected > MANY * judged else ""
    said = (
        f"Confident learning counts {suspected} of {judged} labels ({where}) as wrong, with a linear model that had "
        f"not seen the image. {many}Some are hard photos with the right label, so check them. label_suspects.csv ranks "
        f"all labels; fill in the column corrected and run `headstart labels apply FILE`. Nothing changes "
        f"before that. The score is from 0, a label that is very unlikely, to 1:"
    )
    return [Text(said), table(columns, rows)]


def _shortcuts(audit: AuditRef) -> list[Block]:
    if not audit.shortcuts:
        none = "Nothing to report: brightness, size and format are the same for all, or classes are too small."
        return [Text(none)]
    rows = [
        (
            one.facts,
            f"{one.score:.3f}",
            f"{one.interval[0]:.3f} to {one.interval[1]:.3f}",
            f"{one.chance:.3f}",
            Strong("predicts the label") if one.flagged else "",
        )
        for one in audit.shortcuts
    ]
    columns = {"facts": False, "balanced accuracy": True, "95 % interval": True, "majority class": True, "flag": False}
    said = (
        "How well a small decision tree predicts the label of training images from these facts alone, "
        "cross-validated. If that is well above the majority class, a network may learn the fact instead of what the "
        "photo shows; but brightness may also belong to what the classes mean."
    )
    return [Text(said), table(columns, rows)]


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def _name(uri: str) -> str:
    return Path(uri).name
