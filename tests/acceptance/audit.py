"""Shows that planted copies and planted wrong labels are found, on solar cells that look alike."""

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from tests.acceptance.shown import Shown, headstart

#: Of each kind of copy, and the share of wrong labels.
COPIES, WRONG = 40, 0.05
#: Nothing is trained but nearest neighbours: the audit is what is wanted.
WORDS = ("--set", "ladder.stop_at=knn", "--set", "transfer_check.enabled=false")


def near_duplicates() -> Shown:
    """Planted copies across splits (crops to 85 to 90 %, JPEG quality 60, mirrored) are found among ELPV's photos."""
    folder, random = Path(tempfile.mkdtemp(prefix="headstart-planted-")), np.random.default_rng(0)
    table, planted = _cells(random), []
    order = iter(random.permutation(len(table)))
    for kind, make in KINDS.items():
        for place in (next(order) for _ in range(COPIES)):
            row = table.iloc[place]
            file = make(Image.open(row["image"]).convert("L"), folder / f"{kind}-{place}", random)
            split = random.choice([name for name in ("train", "validation", "test") if name != row["split"]])
            planted.append(
                {"image": str(file), "label": row["label"], "split": split, "kind": kind, "of": row["image"]}
            )
    found = _audit(folder, pd.concat([table, pd.DataFrame(planted)]).drop(columns=["kind", "of"]))
    pairs = pd.read_csv(found["duplicates_table"].removeprefix("file://"))
    seen = {frozenset(pair) for pair in zip(pairs["copy_uri"], pairs["original_uri"], strict=True)}
    hits = pd.DataFrame(planted).assign(hit=[frozenset((row["image"], row["of"])) in seen for row in planted])
    counts = hits.groupby("kind")["hit"].sum().to_dict()
    own = sum(not any(str(folder) in uri for uri in pair) for pair in seen)
    figure = ", ".join(f"{kind} {n} of {COPIES}" for kind, n in counts.items())
    return min(counts.values()) >= 0.95 * COPIES, f"{figure}; {own} pairs of ELPV's own"


def label_flips() -> Shown:
    """Of 5 % wrong labels planted in ELPV at least half are in the first 10 % of the suspects."""
    folder, random = Path(tempfile.mkdtemp(prefix="headstart-planted-")), np.random.default_rng(0)
    table = _cells(random)
    wrong = random.choice(len(table), round(WRONG * len(table)), replace=False)
    others = {"functional": "defective", "defective": "functional"}
    table.loc[wrong, "label"] = table["label"][wrong].map(others)
    ranked = pd.read_csv(_audit(folder, table)["suspects_table"].removeprefix("file://"))
    first = ranked.head(len(ranked) // 10)
    share = table["image"][wrong].isin(first["uri"]).mean()
    return share >= 0.5, f"{share:.0%} of {len(wrong)} are in the first {len(first)} of {len(ranked)}"


def _crop(photo: Image.Image, to: Path, random: np.random.Generator) -> Path:
    side = round(photo.width * random.uniform(0.85, 0.9))
    left, top = random.integers(0, photo.width - side + 1, 2)
    return _saved(photo.crop((left, top, left + side, top + side)), to.with_suffix(".png"))


def _saved(photo: Image.Image, to: Path) -> Path:
    photo.save(to, quality=60)
    return to


KINDS: dict[str, Callable[[Image.Image, Path, np.random.Generator], Path]] = {
    "crop": _crop,
    "jpeg": lambda photo, to, _: _saved(photo, to.with_suffix(".jpg")),
    "flip": lambda photo, to, _: _saved(ImageOps.mirror(photo), to.with_suffix(".png")),
}


def _cells(random: np.random.Generator) -> pd.DataFrame:
    """ELPV's photos (CC BY-NC-SA 4.0) with their labels, and a split of each."""
    (package,) = find_spec("elpv_dataset").submodule_search_locations
    lines = [line.split() for line in (Path(package) / "data" / "labels.csv").read_text().splitlines() if line.strip()]
    files = [str(Path(package) / "data" / line[0]) for line in lines]
    labels = ["defective" if float(line[1]) > 0.5 else "functional" for line in lines]
    splits = random.choice(["train", "validation", "test"], len(lines), p=[0.6, 0.15, 0.25])
    return pd.DataFrame({"image": files, "label": labels, "split": splits})


def _audit(folder: Path, table: pd.DataFrame) -> dict[str, str]:
    """What a run says of the data in a table of files."""
    table.to_csv(folder / "table.csv", index=False)
    (folder / "planted.toml").write_text(
        f'name = "planted"\n[source]\nkind = "manifest"\n'
        f'options = {{ path = "{folder}/table.csv", split = "split", root = "/" }}\n'
    )
    return headstart("train", str(folder / "planted.toml"), *WORDS)[0]["audit"]


if __name__ == "__main__":
    from tests.acceptance.shown import main

    main([near_duplicates, label_flips])
