"""The data sets of the benchmark, each as `FOLDER/NAME/train/CLASS` and `FOLDER/NAME/test/CLASS`.

The split is fixed. What varies between the seeds is which training photos validate, and each method's own chance.
"""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

#: A photo: its class, its part (`train`, `test` or `shift`), and its pixels.
Photo = tuple[str, str, Image.Image]

FASHION = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
#: The emoji of two vendors, MIT; each archive is 60 to 75 MB.
EMOJI = "16.0.0"


def elpv(archives: Path) -> Iterator[Photo]:
    """2,624 solar cells; cells that look alike are in one part. CC BY-NC-SA 4.0."""
    from elpv_dataset.utils import load_dataset

    photos, probabilities, _ = load_dataset()
    unit = _alike(photos)
    for number, (photo, probability) in enumerate(zip(photos, probabilities, strict=True)):
        part = "test" if _draw(f"elpv {unit[number]}") < 0.25 else "train"
        yield "defective" if probability > 0.5 else "functional", part, Image.fromarray(photo)


def digits(archives: Path) -> Iterator[Photo]:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, eight times as large."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (photo, digit) in enumerate(zip(found.images, found.target, strict=True)):
        part = "test" if _draw(f"digits {number}") < 0.3 else "train"
        small = Image.fromarray(np.uint8(np.clip(photo * 16, 0, 255)))
        yield str(digit), part, small.resize((64, 64), Image.Resampling.NEAREST)


def tiny_defects(archives: Path) -> Iterator[Photo]:
    """Surfaces of 256 x 256 pixels whose classes differ by a patch of 10 pixels; 160 photos a class to train on."""
    for place, kind in enumerate(("plain", "spot", "drift")):
        for number in range(360):
            rng = np.random.default_rng([0, place, number])
            yield kind, "train" if number < 160 else "test", _compressed(_surface(rng, kind, 256))


def emoji(archives: Path) -> Iterator[Photo]:
    """One vendor's 1,906 emoji of 64 x 64 pixels in nine categories; another vendor's test emoji are the shift."""
    listed = json.loads(_packed(archives, "google", "emoji.json"))
    for each in listed:
        if each["category"] == "Component":
            continue
        part = "test" if _draw(f"emoji {each['image']}") < 0.3 else "train"
        for vendor in ("google", "twitter") if part == "test" else ("google",):
            photo = Image.open(io.BytesIO(_packed(archives, vendor, f"img/{vendor}/64/{each['image']}"))).convert(
                "RGBA"
            )
            white = Image.new("RGBA", photo.size, "white")
            name = each["category"].lower().replace(" & ", "-")
            yield name, part if vendor == "google" else "shift", Image.alpha_composite(white, photo).convert("RGB")


def fashion_20(archives: Path) -> Iterator[Photo]:
    """Fashion-MNIST with 20 photos a class to train on, and 2,000 test photos."""
    yield from _fashion(20)


def fashion_100(archives: Path) -> Iterator[Photo]:
    """Fashion-MNIST with 100 photos a class to train on, and 2,000 test photos."""
    yield from _fashion(100)


def fashion(archives: Path) -> Iterator[Photo]:
    """All of Fashion-MNIST: 60,000 photos to train on, 10,000 test photos."""
    yield from _fashion(6000)


def shapes(archives: Path) -> Iterator[Photo]:
    """One of eight shapes, small or large, among lines and blobs; 100 photos a class to train on."""
    for place, kind in enumerate(SHAPES):
        for number in range(200):
            rng = np.random.default_rng([1, place, number])
            yield kind, "train" if number < 100 else "test", _compressed(_scene(rng, kind))


#: In the order in which they are measured.
SETS: dict[str, Callable[[Path], Iterator[Photo]]] = {
    made.__name__: made for made in (tiny_defects, shapes, emoji, digits, fashion_20, fashion_100, elpv, fashion)
}


def shifted(name: str) -> str:
    """What the photos of a set's shift are called."""
    return f"{name}-shift"


def write(name: str, folder: Path) -> Path:
    """The folder of a set, written if it is not there yet."""
    to = folder / name
    if (to / "complete").exists():
        return to
    counts: dict[tuple[str, str], int] = {}
    for label, part, photo in SETS[name](folder):
        number = counts[part, label] = counts.get((part, label), -1) + 1
        place = folder / shifted(name) / "test" / label if part == "shift" else to / part / label
        place.mkdir(parents=True, exist_ok=True)
        # Photos that were JPEG files are so still, pixel for pixel.
        photo.save(place / f"{label}-{number:05d}.png")
    (to / "complete").touch()
    return to


def _draw(text: str) -> float:
    """A number of 0 to 1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def _alike(photos: np.ndarray) -> list[int]:
    """For each photo the number of the first that it is a near-copy of: correlation of small versions above 0.98."""
    small = np.stack([np.asarray(Image.fromarray(photo).resize((32, 32)), np.float32).ravel() for photo in photos])
    small -= small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    return [int(np.argmax(small[: at + 1] @ row > 0.98)) for at, row in enumerate(small)]


@cache
def _packed(archives: Path, vendor: str, file: str) -> bytes:
    return _archive(archives, vendor)[f"package/{file}"]


@cache
def _archive(archives: Path, vendor: str) -> dict[str, bytes]:
    """What is needed of a vendor's package, from the npm registry that the machine is set up for."""
    name = f"emoji-datasource-{vendor}"
    file = archives / f"{name}-{EMOJI}.tgz"
    if not file.exists():
        archives.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", f"{name}@{EMOJI}"], cwd=archives, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(file) as packed:
        wanted = [m for m in packed if m.name == "package/emoji.json" or f"/img/{vendor}/64/" in m.name]
        return {member.name: packed.extractfile(member).read() for member in wanted if member.isfile()}


def _fashion(each: int) -> Iterator[Photo]:
    if not FASHION.exists():
        sys.exit(f"fashion: expected Fashion-MNIST in {FASHION}: apt-get install dataset-fashion-mnist")
    for part, prefix, most in (("train", "train", each), ("test", "t10k", 1000 if each == 6000 else 200)):
        photos = np.frombuffer(
            gzip.decompress((FASHION / f"{prefix}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
        )
        labels = np.frombuffer(
            gzip.decompress((FASHION / f"{prefix}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
        )
        for label, name in enumerate(CLOTHES):
            for at in np.flatnonzero(labels == label)[:most]:
                yield name, part, Image.fromarray(photos.reshape(-1, 28, 28)[at])


def _compressed(photo: Image.Image) -> Image.Image:
    """As a camera would have stored it."""
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=92)
    return Image.open(io.BytesIO(file.getvalue()))


def _surface(rng: np.random.Generator, kind: str, side: int) -> Image.Image:
    """Woven cloth; `spot` has a patch of another grain anywhere, `drift` another angle and less contrast everywhere."""
    angle, contrast = rng.normal(0.6, 0.06), rng.uniform(0.11, 0.15)
    if kind == "drift":
        angle, contrast = angle + rng.choice([-1, 1]) * rng.uniform(0.14, 0.22), contrast * 0.9
    across, down = np.fft.fftfreq(side)[None, :], np.fft.fftfreq(side)[:, None]
    along = np.cos(angle) * across + np.sin(angle) * down
    other = np.cos(angle) * down - np.sin(angle) * across
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) * (np.exp(-((40 * along) ** 2) - (9 * other) ** 2) + 0.06)
    waves = np.fft.ifft2(spectrum).real
    photo = 0.5 + contrast * waves / waves.std()
    if kind == "spot":
        size = int(rng.integers(8, 13))
        top, left = rng.integers(2, side - size - 2, 2)
        photo[top : top + size, left : left + size] = 0.5 + rng.normal(0, 0.16, (size, size))
    return Image.fromarray(np.uint8(np.clip(photo, 0, 1) * 255))


def _polygon(points: int, inner: float = 1.0) -> np.ndarray:
    """Corners on a circle of radius 1, float[points, 2]; each second one at distance `inner`."""
    turn = np.arange(points) * 2 * np.pi / points - np.pi / 2
    radius = np.where(np.arange(points) % 2, inner, 1.0)[:, None]
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


SHAPES = {
    "circle": _polygon(40),
    "triangle": _polygon(3),
    "square": _polygon(4),
    "pentagon": _polygon(5),
    "star": _polygon(10, 0.45),
    "gear": _polygon(24, 0.75),
    "cross": _polygon(8, 0.3),
    "crescent": np.concatenate([_polygon(40)[5:36], _polygon(40)[5:36][::-1] * [0.75, 0.75] - [0.0, 0.35]]),
}


def _scene(rng: np.random.Generator, kind: str) -> Image.Image:
    """A shape of 20 to 120 pixels anywhere on a photo of 160 to 320 pixels."""
    width, height = rng.integers(160, 321, 2)
    ground = rng.uniform(40, 215, (int(height) // 40 + 2, int(width) // 40 + 2, 3))
    photo = Image.fromarray(np.uint8(ground)).resize((int(width), int(height)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(photo)
    for _ in range(int(rng.integers(15, 40))):
        at, to = rng.uniform(0, 1, (2, 2)) * [width, height]
        draw.line([*at, *(at + 0.3 * (to - at))], tuple(rng.integers(0, 256, 3).tolist()), int(rng.integers(1, 5)))
    for _ in range(int(rng.integers(4, 10))):
        at, size = rng.uniform(0, 1, 2) * [width, height], rng.uniform(2, 6)
        draw.ellipse([*(at - size), *(at + size)], tuple(rng.integers(0, 256, 3).tolist()))
    size, turn = np.exp(rng.uniform(np.log(10), np.log(60))), rng.uniform(0, 2 * np.pi)
    size = min(size, width / 2 - 2, height / 2 - 2)
    middle = rng.uniform([size, size], [width - size, height - size])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = SHAPES[kind] @ rotation * size * rng.uniform(0.8, 1.0, 2) + middle
    draw.polygon([tuple(corner) for corner in corners], tuple(rng.integers(0, 256, 3).tolist()))
    pixels = np.asarray(photo, np.float64) + rng.normal(0, 12, (int(height), int(width), 3))
    return Image.fromarray(np.uint8(np.clip(pixels, 0, 255)))
