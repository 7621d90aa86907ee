"""Ways to run a frozen network fast, and the loop that runs one over prepared images into a table.

An engine has `start(model) -> run`, where `run` maps uint8 pixels [n, size, size, 3] to float32 outputs.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tasks import progress, store
from tasks.images.augment import view


def fill(
    table: store.Table,
    rows: Sequence[tuple[str, str]],
    pixels: store.Table,
    run: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
    what: str,
) -> int:
    """Compute and commit the (image key, view) rows that the table lacks; returns how many."""
    there = table.keys()
    new = [row for row in rows if row_key(*row) not in there]
    chunks = [new[start : start + batch_size] for start in range(0, len(new), batch_size)]
    batches = zip(chunks, pixels.batches([key for key, _ in new], batch_size), strict=True) if new else []
    for chunk, batch in progress.counted(((pair, len(pair[0])) for pair in batches), len(new), what):
        seen = np.stack([view(image, name) for image, (_, name) in zip(batch, chunk, strict=True)])
        table.append([row_key(*row) for row in chunk], run(seen).astype(table.dtype))
    return len(new)


def row_key(key: str, view_name: str) -> str:
    """The address of an image's view in a table of outputs."""
    return key if view_name == "identity" else f"{key}:{view_name}"
