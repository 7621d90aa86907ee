"""OpenVINO on a CPU, float32, several images in progress at once.

Keras exports the model (https://keras.io/api/models/model_saving_apis/export/); one image per request and the
throughput hint use all cores
(https://docs.openvino.ai/2026/openvino-workflow/running-inference/optimize-inference.html).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from tasks.networks.engines import Engine, one_line
from tasks.runtime.errors import DependencyError
from tasks.runtime.store import checksums, uses

if TYPE_CHECKING:
    import keras

#: Keras 3.15 exports from JAX with operations that OpenVINO 2026.4 has no rule for (`XlaCallModule`), and from PyTorch
#: without the height and width of the input.
BACKENDS = ("tensorflow",)
#: File with the checksums of an exported model.
SUMS = "checksums.json"


def start(build: Callable[[], keras.Model], folder: Path) -> Engine:
    """The exported model from the folder, or exported into it; compiled for one image per request."""
    import openvino as ov

    exported = folder / "model.xml"
    if not exported.is_file() or _changed(folder):
        _export(build(), folder)
    core = ov.Core()
    model = core.read_model(exported)
    model.reshape([1, *(dimension.get_length() for dimension in list(model.input().partial_shape)[1:])])
    inputs = ov.preprocess.PrePostProcessor(model)
    inputs.input().tensor().set_element_type(ov.Type.u8)  # converted inside, faster than by NumPy
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(inputs.build(), "CPU", settings)
    return Engine("openvino", tuple(compiled.output(0).shape)[1:], lambda batches: _run(compiled, batches))


def _changed(folder: Path) -> bool:
    """Whether an exported model is not as it was written: OpenVINO would run it all the same."""
    uses.touch(folder)
    try:
        return bool(checksums.wrong(folder, json.loads((folder / SUMS).read_bytes())))
    except (OSError, ValueError, AttributeError, TypeError):
        return True


def _export(model: keras.Model, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    working = folder / f".{uuid4().hex}"
    try:
        model.export(str(working.with_suffix(".xml")), format="openvino", verbose=False)
    except Exception as error:  # a converter can raise anything
        for half in (working.with_suffix(".xml"), working.with_suffix(".bin")):
            half.unlink(missing_ok=True)
        raise DependencyError(
            f"Expected OpenVINO to convert the network, found {one_line(error)}. Set extract.engine to 'tensorflow' or "
            "'auto', or use Python 3.11 or 3.12."
        ) from error
    # The weights first: a reader that sees model.xml finds both.
    working.with_suffix(".bin").rename(folder / "model.bin")
    working.with_suffix(".xml").rename(folder / "model.xml")
    (folder / SUMS).write_text(json.dumps(checksums.of_folder(folder, ("model.bin", "model.xml"))))


def _run(compiled: Any, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Outputs of each batch in order; waits for the oldest request, as all take the same time.

    No Python callbacks as in `AsyncInferQueue`: 2026.4 may hang when it ends one that waits for Python.
    """
    shape = tuple(compiled.output(0).shape)[1:]
    # Twice as many as run at once, so that a free core always finds a request.
    free = [
        compiled.create_infer_request() for _ in range(2 * compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    ]
    started: deque[tuple[Any, np.ndarray, int]] = deque()

    def oldest() -> Iterator[np.ndarray]:
        request, outputs, row = started.popleft()
        request.wait()
        outputs[row] = request.get_output_tensor(0).data[0]
        free.append(request)
        if row == len(outputs) - 1:
            yield outputs

    try:
        for images in batches:
            outputs = np.empty((len(images), *shape), np.float32)
            for row, image in enumerate(images):
                if not free:
                    yield from oldest()
                request = free.pop()
                request.start_async({0: image[None]})
                started.append((request, outputs, row))
        while started:
            yield from oldest()
    finally:
        for request, _, _ in started:
            request.wait()
