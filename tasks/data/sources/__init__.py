"""Where photos and labels come from.

A source has `rows(*, options…) -> DataFrame` with the columns `uri` (an absolute path), `label`, `group` and `split`
(text or None; `split` is train, validation or test where the source fixes it), and any further columns. These get the
prefix `slice_`, and test images are also scored by their values. A row with text in the column `error` is set aside for
that reason. `attrs["notes"]` may hold sentences on what was passed over; they become warnings. `uri` may be an address:
if `attrs["stated"]` is set, `bytes_on_disk` and `mtime` are columns already, as the server has listed them.
"""

import re
import unicodedata
from pathlib import Path

import pandas as pd

from tasks.records import digest
from tasks.records.data import PREFIX
from tasks.runtime import plugins
from tasks.runtime.errors import DataError
from tasks.runtime.store import remote
from tasks.settings import Source

#: What people call the splits, in any case.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: Key of a source's notes in the `attrs` of its rows.
NOTES = "notes"
#: Key in the `attrs` of rows that have the columns `STATS`.
STATED = "stated"
STATS = ("bytes_on_disk", "mtime")


def listing(source: Source) -> pd.DataFrame:
    """The source's rows and notes, with the size and modification time of each file; -1 where there is no file.

    Of a file behind an address, `mtime` is a number of its time and etag.
    """
    options = plugins.bind("sources", source.kind, source.options, "source.options")
    found = plugins.entry("sources", source.kind)(**options)
    notes, stated = list(found.attrs.get(NOTES, ())), found.attrs.get(STATED, False)
    rows = prefixed(found, STATS if stated else ())
    if rows.empty:
        raise DataError(f"source: expected photos, found none with {source.options}.")
    if "error" not in rows:
        rows["error"] = None
    if not stated:
        stats = _stats(rows)
        rows = rows.assign(bytes_on_disk=[size for size, _ in stats], mtime=[time for _, time in stats])
    rows.attrs[NOTES] = notes
    return rows


def listing_digest(source: Source) -> str:
    """Digest of what the source holds now, without reading the photos."""
    rows = listing(source)
    return digest(rows.to_csv(index=False), rows.attrs[NOTES])


def _stats(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """Of what is set aside, addresses are not asked for."""
    far = rows["uri"].map(remote.scheme).astype(bool)
    asked = list(rows.loc[far & rows["error"].isna(), "uri"].unique())
    known = dict(zip(asked, remote.stats(asked), strict=True)) if asked else {}
    return [known.get(uri, remote.ABSENT) if away else _stat(uri) for uri, away in zip(rows["uri"], far, strict=True)]


def _stat(uri: str) -> tuple[int, int]:
    try:
        found = Path(uri).stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


#: Columns of every source; further columns get names that no fact of a photo has.
COMMON = ("uri", "label", "group", "split", "error")


def prefixed(rows: pd.DataFrame, known: tuple[str, ...] = ()) -> pd.DataFrame:
    """A source's rows, with the prefix before the names of its columns beyond the common and the known ones."""
    return rows.rename(columns={name: f"{PREFIX}{name}" for name in rows if name not in (*COMMON, *known)})


def normalised(label: str) -> str:
    """A label without what the eye does not see: forms of Unicode, invisible characters, blanks, upper case."""
    text = unicodedata.normalize("NFKC", label)
    seen = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace())
    return unicodedata.normalize("NFC", re.sub(r"\s+", " ", seen).strip().casefold())
