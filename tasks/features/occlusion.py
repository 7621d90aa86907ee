"""Which parts of a photo an answer rests on: a part is blurred, and the answer is asked again.

Occlusion (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901) needs nothing but answers, so that it is the same
for every network, head, average and backend, and says what the answer itself does. A blurred part keeps its colours and
has no new edges, which a grey square would have.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

#: Cells along each side of a map; the part that is blurred at once is two cells wide.
CELLS = 6
#: Images that a network is asked about at once.
BATCH = 8
#: Side of what a photo is shrunk to and enlarged again, for the blur.
BLUR = 4
#: A fall below this, in log-odds, is not shown at full brightness: there is nothing to show.
FAINT = 0.2
#: Probabilities are taken to be this far from 0 and 1 at least.
EDGE = 1e-6
#: How bright the parts stay that do not matter.
DIM = 0.2

Run = Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]]


def maps(pixels: np.ndarray, classes: np.ndarray, run: Run, seconds: float = np.inf) -> list[np.ndarray]:
    """By how much the log-odds of a class fall where a part is blurred, float64[cells, cells] for each photo.

    Log-odds, as the probability of a sure answer hardly moves.

    `pixels`: uint8[n, side, side, 3]; `classes`: int[n], whose probability is looked at; `run`: from uint8[m, side,
    side, 3] to probabilities float[m, all classes], batch by batch. Each cell has the mean over the parts that cover
    it; below 0 where the answer is surer without it. No photo is begun after `seconds`, but the first always is.
    """
    found: list[np.ndarray] = []
    began = time.perf_counter()
    for photo, wanted in zip(pixels, classes, strict=True):
        if found and time.perf_counter() - began > seconds:
            break
        covered, places = _covered(photo)
        every = np.concatenate([photo[None], covered])
        batches = (every[at : at + BATCH] for at in range(0, len(every), BATCH))
        said = np.clip(np.concatenate(list(run(batches))).astype(np.float64)[:, wanted], EDGE, 1 - EDGE)
        said = np.log(said / (1 - said))
        total, times = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
        for (row, column), now in zip(places, said[1:], strict=True):
            part = np.s_[row : row + 2, column : column + 2]
            total[part] += said[0] - now
            times[part] += 1
        found.append(total / times)
    return found


def spotlight(pixels: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """The photo, uint8[h, w, 3], as bright as its parts matter: `fall` as `maps` gives it."""
    height, width = pixels.shape[:2]
    share = np.clip(fall / max(float(fall.max()), FAINT), 0, 1)
    smooth = Image.fromarray(share.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    light = DIM + (1 - DIM) * np.asarray(smooth)[..., None]
    return np.round(pixels * light).astype(np.uint8)


def _covered(photo: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The photo with each part blurred, uint8[parts, side, side, 3], and the first cell of each part."""
    height, width = photo.shape[:2]
    small = Image.fromarray(photo).resize((BLUR, BLUR), Image.Resampling.BOX)
    blurred = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
    rows, columns = (np.linspace(0, side, CELLS + 1).round().astype(int) for side in (height, width))
    places = [(row, column) for row in range(CELLS - 1) for column in range(CELLS - 1)]
    covered = np.repeat(photo[None], len(places), axis=0)
    for image, (row, column) in zip(covered, places, strict=True):
        part = np.s_[rows[row] : rows[row + 2], columns[column] : columns[column + 2]]
        image[part] = blurred[part]
    return covered, places
