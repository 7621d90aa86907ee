"""Damaged files of every format: what ingest accepts, training and serving read, and the pixels are equal."""

import numpy as np
import pytest
from photo_files import FILES

from tasks.data.images import decode, facts, pipeline, plain

LIMIT, SIDE = 10**6, 48


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one to three changes: a bit, a byte, a run of zeros, bytes put in, swapped or added, or a cut."""
    made = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        # Half of the changes hit the header.
        at, other = (int(rng.integers(0, min(len(made), 64) if rng.random() < 0.5 else len(made))) for _ in range(2))
        random = rng.integers(0, 256, int(rng.integers(1, 30)), "uint8").tobytes()
        match rng.integers(0, 7):
            case 0:
                made[at] ^= 1 << int(rng.integers(8))
            case 1:
                made[at] = random[0]
            case 2:
                made[at : at + len(random)] = bytes(len(random))
            case 3:
                made[at:at] = random
            case 4:
                made[at : at + 16], made[other : other + 16] = made[other : other + 16], made[at : at + 16]
            case 5:
                made += random
            case _:
                del made[max(at, len(made) // 2) :]
    return bytes(made)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_what_is_accepted_can_be_read_by_training_and_by_the_served_graph(tmp_path):
    rng, serving = np.random.default_rng(0), decode.preparer(SIDE, "crop", LIMIT)
    accepted = 0
    for number in range(600):
        kind = list(FILES)[number % len(FILES)]
        file = tmp_path / "file"
        file.write_bytes(damaged(FILES[kind], rng))
        found, photo = facts.read(str(file), SIDE, LIMIT)
        assert (found["error"] is None) == (photo is not None), kind
        if photo is None:
            continue
        accepted += 1
        squares = [
            plain.fitted(photo, SIDE, "crop"),
            pipeline.reader(SIDE, "crop", LIMIT)([str(file)], None)[0],
            serving(file.read_bytes()).numpy(),
        ]
        np.testing.assert_array_equal(squares[0], squares[1], kind)
        np.testing.assert_array_equal(squares[0], squares[2], kind)
    assert 100 < accepted < 500
