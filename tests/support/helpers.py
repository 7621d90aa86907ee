"""Tiny photos and data sets that the tests are made of."""

import io
import json
import os
import pickle
import socket
import struct
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasks.networks.weights.pth import LEGACY_MAGIC, PROTOCOL

#: Where the modules that tests share are; on the path of processes that tests start.
HERE = Path(__file__).parent

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


def recipe(folder: Path, name: str = "colours", extra: str = "", folds_below: str = "folds_below = 0") -> str:
    """TOML of a recipe that trains in seconds: 32 pixels, few features, one block fine-tuned, no cross-fitting."""
    for table, line in (("ladder", folds_below), ("backbone", 'pooling = "avg"')):
        if line and f"[{table}]" not in extra:
            extra += f"\n[{table}]"
        if line.partition(" ")[0] not in extra:
            extra = extra.replace(f"[{table}]", f"[{table}]\n{line}")
    return f"""
name = "{name}"
[source]
kind = "folder"
options = {{ path = "{folder}" }}
[images]
size = 32
[head]
kind = "linear"
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


def answer(request: str | urllib.request.Request) -> bytes:
    """What a server answers once it does, within two minutes: it may be starting, or its SQLite locked for a moment."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.read()
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError) and error.code != 503:
                raise
            time.sleep(0.5)
    raise AssertionError(f"no answer from {getattr(request, 'full_url', request)}")


@dataclass(frozen=True)
class Answer:
    """What a command of ours left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object that it printed last."""
        return json.loads(self.out.strip().splitlines()[-1])


@dataclass(frozen=True)
class Evil:
    """What writes a file when a pickle of it is loaded."""

    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "run")


@dataclass(frozen=True)
class Name:
    """A global that a pickle asks for, which need not exist here."""

    module: str
    name: str

    def __call__(self) -> None:
        """Pickle writes calls of callables only."""


@dataclass(frozen=True)
class Saved:
    """A tensor as torch.save pickles it: its storage in `key`, offset and stride in numbers."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0
    key: str = "0"
    kind: str = "FloatStorage"

    def __reduce__(self) -> tuple[Any, ...]:
        storage = _Persistent(("storage", Name("torch", self.kind), self.key, "cpu", 4))
        return Name("torch._utils", "_rebuild_tensor_v2"), (storage, self.offset, self.size, self.stride, False, {})


@dataclass(frozen=True)
class _Persistent:
    pid: tuple[Any, ...]


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]
    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, _Persistent) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Name):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, save_persistent_id)


def hostile_keras(folder: Path, size: int) -> tuple[Path, Path]:
    """A `.keras` file whose Lambda layer makes a folder when it is called, and that folder, which is not there yet."""
    import keras

    planted = str(folder / "planted")
    pixels = keras.Input((size, size, 3))
    evil = keras.Model(pixels, keras.layers.Lambda(lambda x: (os.mkdir(planted), x)[1])(pixels))  # noqa: PTH102
    evil.save(folder / "evil.keras")
    Path(planted).rmdir()
    return folder / "evil.keras", Path(planted)


def pickled(state: object) -> bytes:
    """The pickle that torch.save writes of a state dictionary of `Saved` tensors."""
    out = io.BytesIO()
    _Pickler(out, 2).dump(state)
    return out.getvalue()


def legacy(state: object, storages: dict[str, np.ndarray] = {}) -> bytes:  # noqa: B006
    """A file of torch.save as it was before PyTorch 1.6."""
    parts = [LEGACY_MAGIC, PROTOCOL, {"little_endian": True}, state, list(storages)]
    return b"".join(map(pickled, parts)) + b"".join(struct.pack("<q", s.size) + s.tobytes() for s in storages.values())


def zipped(state: object, storages: dict[str, np.ndarray] = {}, **options: Any) -> bytes:  # noqa: B006
    """A file of torch.save as it is since PyTorch 1.6; the options are `zipfile.ZipFile`'s."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        archive.writestr("weights/data.pkl", pickled(state))
        archive.writestr("weights/byteorder", "little")
        for key, storage in storages.items():
            archive.writestr(f"weights/data/{key}", storage.tobytes())
    return out.getvalue()
