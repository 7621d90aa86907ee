"""Damaged files of every format: what ingest accepts, training and serving read, and the pixels are equal."""

import numpy as np
import pytest
from mutations import damaged
from photo_files import FILES

from tasks.data.images import decode, facts, pipeline, plain

LIMIT, SIDE = 10**6, 48


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
