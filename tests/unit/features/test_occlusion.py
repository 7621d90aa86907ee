"""What an answer rests on is found by blurring parts of the photo."""

import numpy as np

from tasks.features import occlusion


def photo(side=60):
    """Grey, with a fine black and white pattern in the lower right corner."""
    found = np.full((side, side, 3), 128, np.uint8)
    corner = np.indices((side // 3, side // 3)).sum(axis=0) % 2 * 255
    found[-side // 3 :, -side // 3 :] = corner[..., None]
    return found


def of_the_pattern(batches):
    """The probability of class 1 grows with the contrast of the lower right corner."""
    for batch in batches:
        contrast = batch[:, 40:, 40:].std(axis=(1, 2, 3)) / 128
        yield np.stack([1 - contrast, contrast], axis=1)


def test_the_part_that_the_answer_rests_on_is_found():
    (fall,) = occlusion.maps(photo()[None], np.array([1]), of_the_pattern)
    assert fall.shape == (occlusion.CELLS, occlusion.CELLS)
    assert np.unravel_index(fall.argmax(), fall.shape) >= (4, 4)
    assert fall[-1, -1] > 0.5
    assert np.abs(fall[:3, :3]).max() < 1e-9


def test_what_speaks_against_the_answer_is_below_zero():
    (fall,) = occlusion.maps(photo()[None], np.array([0]), of_the_pattern)
    assert fall[-1, -1] < -0.5


def test_the_spotlight_leaves_what_matters_as_it_is_and_darkens_the_rest():
    (fall,) = occlusion.maps(photo()[None], np.array([1]), of_the_pattern)
    lit = occlusion.spotlight(photo(), fall)
    assert (lit.shape, lit.dtype) == ((60, 60, 3), np.uint8)
    assert np.array_equal(lit[-4:, -4:], photo()[-4:, -4:])
    assert lit[:20, :20].max() <= 128 * occlusion.DIM + 1


def test_an_answer_that_rests_on_nothing_is_dark():
    assert occlusion.spotlight(photo(), np.full((6, 6), 0.001)).max() < 255 * 0.25
    assert occlusion.spotlight(photo(), np.full((6, 6), -0.5)).max() <= 255 * occlusion.DIM + 1


def test_time_that_is_out_ends_it_after_the_first():
    photos = np.stack([photo()] * 3)
    assert len(occlusion.maps(photos, np.array([1, 1, 1]), of_the_pattern, seconds=0)) == 1
    assert len(occlusion.maps(photos, np.array([1, 1, 1]), of_the_pattern)) == 3
    assert occlusion.maps(photos[:0], np.array([], int), of_the_pattern) == []
