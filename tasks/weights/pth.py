"""PyTorch weight files, read without PyTorch and without running anything that they hold.

A legacy `.pth` (torch.save before 1.6) is a row of pickles, then the bytes of each storage; layout as written by
`torch.serialization._legacy_save` (https://github.com/pytorch/pytorch/blob/main/torch/serialization.py). A pickle may
name any function to call; here only an ordered dictionary, tensors and storages are known, the rest is refused.
"""

import collections
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tasks.errors import DependencyError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "u1",
}


class _Lazy:
    """A tensor's place in a storage whose bytes come later in the file."""

    def __init__(self, key: str, dtype: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.key, self.dtype, self.offset, self.size, self.stride = key, dtype, offset, size, stride

    def array(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        flat = storages[self.key][self.offset :]
        last = sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        negative = min((*self.size, *self.stride, self.offset, 0)) < 0
        if negative or (0 not in self.size and last >= len(flat)):
            raise ValueError("a tensor reaches past the end of its storage")
        strides = [s * flat.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(flat, self.size, strides, writeable=False).copy()


def _rebuild_tensor(storage: tuple[str, str], offset: int, size: tuple, stride: tuple, *rest: Any) -> _Lazy:
    key, dtype = storage
    return _Lazy(key, dtype, offset, tuple(size), tuple(stride))


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which weights do not need")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in STORAGES.values():
            raise pickle.UnpicklingError(f"it asks for {kind!r}, expected a storage")
        return key, dtype


def read(path: Path) -> dict[str, np.ndarray]:
    """The state dictionary of a legacy `.pth` file: name to array.

    Raises `DependencyError` for a file that is damaged, holds something other than tensors, or asks to run code.
    """
    try:
        with path.open("rb") as file:
            return _legacy(file)
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        struct.error,
    ) as error:
        raise DependencyError(f"{path}: expected a PyTorch state dictionary of tensors; refused: {error}.") from None


def _legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    if _Restricted(file).load() != LEGACY_MAGIC or _Restricted(file).load() != PROTOCOL:
        raise ValueError("it does not begin as torch.save's files do")
    _Restricted(file).load()  # byte order and type sizes of the writing machine
    state = _Restricted(file).load()
    if not isinstance(state, dict) or not all(isinstance(value, _Lazy) for value in state.values()):
        raise ValueError("it holds something other than named tensors")
    dtypes = {value.key: value.dtype for value in state.values()}
    storages = {}
    for key in _Restricted(file).load():
        dtype = np.dtype(dtypes[key])
        (count,) = struct.unpack("<q", file.read(8))
        data = file.read(max(count, 0) * dtype.itemsize)
        if count < 0 or len(data) != count * dtype.itemsize:
            raise ValueError("it ends too early")
        storages[key] = np.frombuffer(data, dtype)
    return {name: value.array(storages) for name, value in state.items()}
