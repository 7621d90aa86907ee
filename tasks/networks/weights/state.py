"""State dictionaries: the named arrays of a network, as in PyTorch, from the usual file formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.networks.weights import pth, storages
from tasks.runtime.errors import DependencyError, UsageError

if TYPE_CHECKING:
    import numpy as np

#: Types of numbers in a safetensors file (https://github.com/huggingface/safetensors#format), by NumPy's names.
SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


def read(path: Path) -> dict[str, np.ndarray]:
    """Name to array, as stored, bfloat16 as float32, of a `.pth`, `.pt`, `.bin` or `.safetensors` file.

    Raises `UsageError` for another suffix, `DependencyError` for a file that is damaged or asks to run code.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: expected a file of weights that ends in {', '.join(SUFFIXES)}.")
    return _safetensors(path) if path.suffix == ".safetensors" else pth.read(path)


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors

    try:
        tensors = safetensors.deserialize(path.read_bytes())
        return {
            name: storages.decode(tensor["data"], SAFETENSORS[tensor["dtype"]]).reshape(tensor["shape"])
            for name, tensor in tensors
        }
    except safetensors.SafetensorError as error:
        raise DependencyError(f"{path}: expected a safetensors file; refused: {error}.") from None
    except KeyError as error:
        raise DependencyError(f"{path}: expected tensors of {', '.join(SAFETENSORS)}, found {error}.") from None
