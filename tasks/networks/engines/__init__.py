"""Ways to run a frozen network fast.

An engine has `BACKENDS`, the backends of Keras whose networks it runs, and `start(build, folder) -> Engine`: `build()`
returns the Keras model, and `folder`, used for this network alone, stores what the engine has made from it, so that the
next start needs neither Keras nor the weights. Outputs come in the order of the inputs; only a few batches are in
progress at once, so that memory does not grow with the number of images.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tasks.networks import backend
from tasks.runtime import plugins
from tasks.runtime.processes import has_gpu
from tasks.settings import check_engine

if TYPE_CHECKING:
    import keras

T = TypeVar("T")

#: Largest difference of OpenVINO's outputs from TensorFlow's on the probe, relative to the largest output.
TOLERANCE = 1e-3
PROBE = 4
AHEAD = 4
#: Images predicted for warm-up, and images that are timed one by one.
WARM, TIMED = 3, 20


@dataclass(frozen=True)
class Engine:
    """A network ready to run: batches uint8[n, size, size, 3] to float32[n, *shape]."""

    name: str
    shape: tuple[int, ...]
    run: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]
    reason: str = "set by the recipe"


def start(wanted: str, build: Callable[[], keras.Model], folder: Path, size: int) -> Engine:
    """The engine that a recipe names; `auto` takes OpenVINO on a CPU where it runs and agrees with TensorFlow.

    If OpenVINO raises any error on the probe, `auto` takes TensorFlow, and the engine's `reason` says why. With the
    backends torch and jax `auto` is their own engine. Raises `UsageError` for an engine of another backend.
    """
    if wanted != "auto":
        check_engine(wanted, backend.current())
        return plugins.entry("engines", wanted)(build, folder)
    if backend.current() != "tensorflow":
        return own(build, folder)
    if has_gpu():
        return _tensorflow(build, folder, "auto: a GPU is available")
    try:
        fast = plugins.entry("engines", "openvino")(build, folder)
        error = _disagreement(fast, build, folder, size)
        reason = f"OpenVINO differs from TensorFlow by {error:.1e} of the largest output, limit {TOLERANCE:.0e}"
        if error <= TOLERANCE:
            return replace(fast, reason=f"auto: {reason}")
    except Exception as failure:  # a third-party converter can raise anything
        reason = f"OpenVINO failed with {one_line(failure)}"
    return _tensorflow(build, folder, f"auto: {reason}")


def _tensorflow(build: Callable[[], keras.Model], folder: Path, reason: str) -> Engine:
    return replace(plugins.entry("engines", "tensorflow")(build, folder), reason=reason)


def one_line(error: Exception) -> str:
    """Type and first line of an error, at most 200 characters."""
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first.strip()}"[:200].rstrip(": ")


def own(build: Callable[[], keras.Model], folder: Path) -> Engine:
    """The engine with the name of this process' backend; every backend has one."""
    name = backend.current()
    return replace(plugins.entry("engines", name)(build, folder), reason=f"the recipe's backend is {name}")


def speed(engine: Engine, pixels: np.ndarray) -> float:
    """Images per second of an engine on uint8[n, side, side, 3]."""
    list(engine.run([pixels]))  # warm-up
    started = time.perf_counter()
    list(engine.run([pixels]))
    return len(pixels) / (time.perf_counter() - started)


def milliseconds(engine: Engine, pixels: np.ndarray, most: float = np.inf) -> np.ndarray:
    """Times of an engine for one image, uint8[1, side, side, 3], again and again after warm-up: float64[at most 20].

    It stops after `most` seconds.
    """
    taken = [time.perf_counter()]
    for _ in engine.run(pixels for _ in range(WARM + TIMED)):
        taken.append(time.perf_counter())
        if len(taken) > WARM + 2 and taken[-1] - taken[0] > most:
            break
    return np.diff(taken)[WARM:] * 1000


def _disagreement(fast: Engine, build: Callable[[], keras.Model], folder: Path, size: int) -> float:
    """Relative error on a probe of noise; measured once per network, then stored with it."""
    memory = folder / "agreement.json"
    with suppress(OSError, ValueError, LookupError, TypeError):  # none yet, or damaged
        return float(json.loads(memory.read_bytes())["relative_error"])
    probe = np.random.default_rng(0).integers(0, 256, (PROBE, size, size, 3), "uint8")
    mine, theirs = (next(each.run([probe])) for each in (fast, plugins.entry("engines", "tensorflow")(build, folder)))
    error = float(np.abs(mine - theirs).max() / max(float(np.abs(theirs).max()), 1e-12))
    folder.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps({"relative_error": error}))
    return error


def ahead(items: Iterable[T], depth: int = AHEAD) -> Iterator[T]:
    """The same items, produced by a thread at most `depth` ahead of the consumer; its errors are raised here."""
    buffer: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                buffer.put((kind, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=produce, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = buffer.get()
            if kind == "end":
                return
            if kind == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
