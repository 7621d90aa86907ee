"""Random changes of pixels."""

import numpy as np
import pytest

from tasks.data.images import augment
from tasks.features.augmentation import augmented
from tasks.features.batches import Batches, jittered
from tasks.runtime.errors import UsageError
from tasks.settings import Augment, FineTune, check
from tasks.training import fit

PHOTOS = np.random.default_rng(0).uniform(0, 255, (6, 24, 24, 3)).astype("float32")
LABELS = np.array([0, 1, 2, 0, 1, 2])
ALONE = ({"crop": 0.4}, {"turn": 30.0}, {"rand_augment": 0.6}, {"erase": 0.9})


def _rows(settings, seed=0):
    return augmented(Batches(lambda at: PHOTOS[at], LABELS), Augment(**settings), seed, 3)


@pytest.mark.parametrize("settings", ALONE)
def test_each_photo_is_changed_anew_and_again_as_before(settings):
    first, again, other = _rows(settings), _rows(settings), _rows(settings, seed=1)
    seen = [first.read(np.arange(6)) for _ in range(2)]
    assert seen[0].shape == PHOTOS.shape and seen[0].dtype == np.float32
    assert seen[0].min() >= 0 and seen[0].max() <= 255
    assert not np.array_equal(seen[0], PHOTOS) and not np.array_equal(*seen)
    for pixels in seen:
        np.testing.assert_array_equal(again.read(np.arange(6)), pixels)
    assert not np.array_equal(other.read(np.arange(6)), seen[0])
    np.testing.assert_array_equal(first.labels, LABELS)


def test_a_generator_that_is_set_back_draws_the_same():
    """As it is after a killed training."""
    rows = _rows({"crop": 0.3, "mix_up": 0.4})
    state = rows.random.bit_generator.state
    before = rows.mix(rows.read(np.arange(6)), rows.labels)
    rows.random.bit_generator.state = state
    for one, other in zip(before, rows.mix(rows.read(np.arange(6)), rows.labels), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("settings", [{"mix_up": 0.4}, {"cut_mix": 1.0}])
def test_mixed_photos_have_mixed_labels(settings):
    rows = _rows(settings)
    pixels, shares = rows.mix(PHOTOS, rows.labels)
    assert pixels.shape == PHOTOS.shape and shares.shape == (6, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert ((shares > 0) & (shares < 1)).any()


def test_nothing_is_changed_without_a_setting():
    rows = _rows({})
    np.testing.assert_array_equal(rows.read(np.arange(6)), PHOTOS)
    assert rows.mix is None and rows.random is None


def test_a_network_is_trained_on_what_is_changed_and_mixed():
    import keras

    every = {"crop": 0.2, "turn": 10.0, "rand_augment": 0.2, "erase": 0.2, "mix_up": 0.2, "cut_mix": 1.0}
    rows = augmented(jittered(Batches(lambda at: PHOTOS[at], LABELS), ("identity",), 0.1, 0), Augment(**every), 0, 3)
    network = keras.Sequential([keras.Input((24, 24, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    plan = fit.Plan(3, 3, 1e-4, 0.0, 4, 0, loss=fit.Loss(balance="weights"))
    history = fit.fit(network, rows, Batches(lambda at: PHOTOS[at], LABELS), plan)
    assert history.epochs == 3 and np.isfinite(history.loss).all()


def test_stored_activations_cannot_be_changed():
    with pytest.raises(UsageError, match='needs trunk = "live"'):
        check({"name": "x", "fine_tune": {"augment": {"crop": 0.2}}}, "--set")
    assert FineTune(trunk="live", augment=Augment(crop=0.2)).random


@pytest.mark.parametrize(("name", "corner"), [("crop_top_left", (0, 0)), ("crop_bottom_right", (1, 1))])
def test_a_crop_shows_a_part_enlarged_the_same_in_a_network_as_in_a_table(name, corner):
    import keras

    side = 31
    places = np.stack(np.meshgrid(*[np.arange(side) * 8.0] * 2, indexing="ij"), axis=-1).astype("uint8")
    seen = augment.view(places[None], name)[0]
    assert seen.dtype == np.uint8 and seen.shape == places.shape
    for axis, end in enumerate(corner):
        shown = np.linspace(0, 0.8 * 240, side) + end * 0.2 * 240
        np.testing.assert_allclose(np.moveaxis(seen[..., axis], axis, 0)[:, 0], shown, atol=0.51)
    there = augment.VIEWS[name](keras.ops.convert_to_tensor(places[None].astype("float32")), keras.ops)
    np.testing.assert_array_equal(np.asarray(there)[0], seen)
