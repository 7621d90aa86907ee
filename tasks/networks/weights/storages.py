"""Tensors as PyTorch stores them: places in flat storages, several of which may share one."""

import math
from typing import NamedTuple

import numpy as np

#: NumPy's name of the type of a PyTorch storage.
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class Storage(NamedTuple):
    """A storage's name in the file and what it holds, a value of `STORAGES`."""

    key: str
    dtype: str


class Place(NamedTuple):
    """A tensor's place in a storage whose bytes are elsewhere in the file; offset and stride in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        """The tensor, read-only, on the bytes of its storage."""
        flat = storages[self.storage.key]
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        # A stride of 0 would make a large tensor of a small file, so the elements are counted too.
        inside = math.prod(self.size) <= len(flat) and (0 in self.size or last < len(flat))
        if min((*self.size, *self.stride, self.offset)) < 0 or not inside:
            raise ValueError("a tensor reaches past the end of its storage")
        strides = [s * flat.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.size, strides, writeable=False)


def decode(data: bytes, dtype: str) -> np.ndarray:
    """Little-endian bytes as a flat array; bfloat16, the upper half of a float32, becomes float32."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, dtype)


def itemsize(dtype: str) -> int:
    """Bytes that one number takes in the file."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
