"""Tiny photos and data sets that the tests are made of."""

import io
import os
import socket
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 60, 50), "green": (60, 190, 70), "blue": (50, 70, 200)}


def photo(colour: tuple[int, int, int], number: int, side: int = 40) -> Image.Image:
    """A noisy square of one colour, another for each number."""
    noise = np.random.default_rng(number).normal(0, 35, (side, side, 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype("uint8"))


def photos(root: Path, each: int = 24, classes: tuple[str, ...] = ("red", "green", "blue")) -> Path:
    """A folder with a sub-folder of PNG files for each colour."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            photo(COLOURS[name], number * 7 + len(name)).save(root / name / f"{name} {number}.png")
    return root


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file of this kind."""
    data = io.BytesIO()
    image.save(data, kind, **options)  # type: ignore[arg-type]
    return data.getvalue()


def recipe(folder: Path, name: str = "colours", extra: str = "") -> str:
    """TOML of a recipe that trains in seconds: 32 pixels, one block fine-tuned."""
    return f"""
name = "{name}"
[source]
kind = "folder"
options = {{ path = "{folder}" }}
[images]
size = 32
[head]
epochs = 30
learning_rate = 0.01
[fine_tune]
blocks = 1
epochs = 1
{extra}
"""


def outside() -> dict[str, str]:
    """The environment of a user who has set nothing of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "HEADSTART_"))}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answer(url: str) -> bytes:
    """What a server that is starting answers once it does, within a minute."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return reply.read()
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}")
