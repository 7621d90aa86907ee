"""The decoder gives the picture that a viewer shows, for every format, and guards itself."""

import functools
import struct
from types import SimpleNamespace

import helpers
import numpy as np
import pytest
from helpers import encoded
from photo_files import FILES, PHOTO
from PIL import Image, ImageOps

from tasks.data.images import decode as graphs
from tasks.data.images import facts, plain
from tasks.data.images.bounded import bounded
from tasks.services.registry import predict


@functools.cache
def _graph(max_pixels: int):
    import tensorflow as tf

    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(lambda x: graphs.decode(x, 10_000, max_pixels), input_signature=signature)


def decode(data: bytes, max_pixels: int):
    return _graph(max_pixels)(data)


def _viewer(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(helpers.io.BytesIO(data)))
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image.convert("RGBA"))
    return np.asarray(page.convert("RGB")).astype(int)


@pytest.mark.parametrize("kind", FILES)
def test_every_format_gives_what_a_viewer_shows(kind):
    seen = decode(FILES[kind], 10_000).numpy().astype(int)
    expected = _viewer(FILES[kind])
    assert seen.shape[:2] == expected.shape[:2]  # grey has one channel until it is resized
    assert abs(seen - expected).max() <= 1


def test_16_bit_greys_keep_their_range():
    ramp = np.linspace(0, 65535, 60 * 40).reshape(40, 60).astype("uint16")
    seen = decode(encoded(Image.fromarray(ramp), "PNG"), 10_000).numpy()
    assert abs(seen[..., 0].astype(int) - (ramp // 256)).max() <= 1


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp", "webp lossless", "webp alpha"])
def test_too_many_pixels_are_refused_before_they_are_decoded(kind):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="expected at most"):
        decode(FILES[kind], 60 * 40 - 1)


@pytest.mark.parametrize(
    "data", [b"", b"not a photo at all", FILES["png"][:99], FILES["jpeg"][:200], FILES["webp"][:40]]
)
def test_bytes_that_are_no_image_raise(data):
    import tensorflow as tf

    with pytest.raises(tf.errors.OpError):
        decode(data, 10_000)


def test_an_animated_webp_is_refused():
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="animated"):
        decode(encoded(PHOTO, "WEBP", save_all=True, append_images=[PHOTO.rotate(90)]), 10_000)


def test_fits():
    shapes = {fit: graphs.preparer(32, fit, 10_000)(FILES["png"]).numpy() for fit in ("squash", "crop", "pad")}
    assert {image.shape for image in shapes.values()} == {(32, 32, 3)}
    assert {image.dtype for image in shapes.values()} == {np.dtype("uint8")}
    # 60x40 padded to a square: black bars above and below, a sixth each.
    assert not shapes["pad"][:5].any()
    assert not shapes["pad"][-5:].any()
    assert shapes["pad"][8:24].all(axis=-1).any()
    middle = np.asarray(PHOTO.crop((10, 0, 50, 40))).mean((0, 1))
    assert abs(shapes["crop"].mean((0, 1)) - middle).max() < 2


@pytest.mark.parametrize("kind", FILES)
def test_plain_pngs_and_jpegs_alone_go_around_tensorflow(kind):
    plainly = kind in ("png", "png grey") or (kind.startswith("jpeg") and kind != "jpeg cmyk")
    found = plain.decode(FILES[kind], 32, 10_000)
    assert (found is not None) == plainly
    if plainly:
        np.testing.assert_array_equal(found, graphs.decoder(32, 10_000)(FILES[kind]).numpy())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"exif": 6}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_large_jpegs_are_decoded_at_a_fraction_of_their_size(mode, options):
    if "exif" in options:
        exif = Image.Exif()
        exif[0x0112] = options["exif"]
        options = {"exif": exif}
    decode_at_32 = graphs.decoder(32, 10**6, ("JPEG",))
    for width, height, left in [(127, 300, 127), (128, 300, 64), (403, 258, 65), (700, 515, 65), (1030, 511, 128)]:
        data = encoded(
            helpers.photo((120, 200, 60), 1, 1030).crop((0, 0, width, height)).convert(mode), "JPEG", **options
        )
        found = plain.decode(data, 32, 10**6)
        np.testing.assert_array_equal(found, decode_at_32(data).numpy())
        assert min(found.shape[:2]) == left
        whole = plain.decode(data, 10_000, 10**6)
        squares = [plain.fitted(photo, 32, "crop").astype(int) for photo in (found, whole)]
        assert abs(squares[0] - squares[1]).mean() < 3


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_plain_pngs_get_the_pixels_of_the_graph(fit):
    graph, rng = graphs.preparer(48, fit, 10**6), np.random.default_rng(0)
    for height, width in [
        (1, 1),
        (1, 90),
        (90, 1),
        (48, 48),
        (20, 31),
        (96, 96),
        (97, 201),
        *rng.integers(2, 400, (12, 2)),
    ]:
        for channels in ("L", "RGB"):
            pixels = rng.integers(0, 256, (height, width, len(channels)), "uint8")
            data = encoded(Image.fromarray(pixels.squeeze(2) if channels == "L" else pixels), "PNG")
            photo = plain.decode(data, 48, 10**6)
            np.testing.assert_array_equal(plain.fitted(photo, 48, fit), graph(data).numpy())


def test_a_photo_that_is_large_or_broken_is_left_to_the_graph():
    data = FILES["png"]
    large = encoded(Image.new("L", (plain.MOST_PIXELS, 2)), "PNG")
    interlaced = data[:28] + b"\1" + data[29:]
    transparent = encoded(PHOTO.convert("L"), "PNG", transparency=3)
    for given in (
        large,
        interlaced,
        transparent,
        data[:20],
        data[:99],
        data[:-20],
        data.replace(b"IDAT", b"JDAT"),
        FILES["jpeg"][:-2],
    ):
        assert plain.decode(given, 32, 10**9) is None
    for kind in ("png", "jpeg"):
        assert plain.decode(FILES[kind], 32, 60 * 40 - 1) is None


def test_the_graph_alone_gives_the_same_pixels(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.decode = graphs.preparer(32, "squash", 10_000)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for data in FILES.values():
        np.testing.assert_array_equal(loaded.decode(data).numpy(), module.decode(data).numpy())


def test_of_a_gif_the_first_frame_alone_is_decoded_and_its_size_is_bounded():
    """Eight kilobytes of further frames took gigabytes; a frame may also be larger than the header says."""
    import tensorflow as tf

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), "uint8")).quantize(16)
    data = encoded(image, "GIF")
    place = data.index(b",", 13 + 3 * 16)
    for whole in (data, data[:-1] + 300 * data[place:-1] + b";", data[:-1] + b",no frame at all"):
        np.testing.assert_array_equal(decode(whole, 2000), _viewer(data))
    large = bytearray(data)
    large[place + 5 : place + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected at most 2000 pixels, found"):
        decode(bytes(large), 2000)


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(tmp_path):
    import tensorflow as tf

    data = encoded(PHOTO, "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    many = data[:first] + 200 * data[first : data.index(b"\xff", first + 2)] + data[first:]
    assert plain.decode(many, 32, 10**6) is None
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected at most 100 scans of the picture, found"):
        decode(many, 10**6)
    (tmp_path / "many.jpg").write_bytes(many)
    assert "scans, more than 100; save it again" in facts.read(str(tmp_path / "many.jpg"), 32, 10**6)[0]["error"]
    assert plain.decode(data, 32, 10**6) is not None


def test_a_version_of_an_older_release_gets_no_photo_that_its_decoder_would_take_without_end():
    import tensorflow as tf

    for kind, data in FILES.items():
        assert (bounded(data) == data) == ("animated" not in kind or not kind.startswith("gif"))
    animated = FILES["gif animated"]
    np.testing.assert_array_equal(tf.image.decode_gif(bounded(animated)), tf.image.decode_gif(animated)[:1])
    still = bounded(animated)
    assert bounded(still[:-1] + 300 * animated[len(still) - 1 : -1] + b";") == still
    assert [bounded(animated[:length]) for length in range(12)] == [animated[:length] for length in range(12)]
    jpeg = FILES["jpeg progressive"]
    scan = jpeg[jpeg.index(b"\xff\xda") :]
    with pytest.raises(ValueError, match="expected at most 100 scans of a JPEG, found"):
        bounded(jpeg + 100 * scan)
    large = bytearray(still)
    large[6:10] = struct.pack("<HH", 3, 3)
    with pytest.raises(ValueError, match="first frame is within its size"):
        bounded(bytes(large))


def test_predictions_are_asked_for_with_such_photos():
    version = SimpleNamespace(predict=lambda table: table)
    (asked,) = predict.predict(version, [FILES["gif animated"]])
    assert list(asked["image"]) == [bounded(FILES["gif animated"])]
