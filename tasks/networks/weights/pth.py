"""PyTorch weight files, read without PyTorch and without running code in them.

Both formats of `torch.save` are supported: since PyTorch 1.6 an uncompressed zip archive with `NAME/data.pkl` and the
bytes of each storage in `NAME/data/KEY`; before that a sequence of pickles, then the bytes of each storage
(https://github.com/pytorch/pytorch/blob/main/torch/serialization.py). A pickle may name any function to call; here only
an ordered dictionary, tensors, parameters and storages are allowed, the rest is refused.
"""

import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tasks.networks.weights.storages import STORAGES, Place, Storage, decode, itemsize
from tasks.runtime.errors import DependencyError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
#: Where training scripts put the state dictionary when they save more than that.
NESTED = ("state_dict", "model_state_dict", "model")
#: Errors that Python raises for a damaged or forged file.
DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    OSError,
)


def _rebuild_tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *rest: Any) -> Place:
    whole = all(type(number) is int for number in (offset, *size, *stride))
    if not isinstance(storage, Storage) or not whole:
        raise pickle.UnpicklingError("a tensor is not described by a storage and whole numbers")
    return Place(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: Any, *rest: Any) -> Any:
    return tensor


class _Restricted(pickle.Unpickler):
    """Allows only tensors, and records the types of their storages by key."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which weights do not need")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _, _, *view = pid
        if kind != "storage" or dtype not in STORAGES.values() or not isinstance(key, str) or any(view):
            raise pickle.UnpicklingError(f"it asks for {kind!r}, expected a storage")
        if self.dtypes.setdefault(key, dtype) != dtype:
            raise pickle.UnpicklingError(f"storage {key} is declared with two types of numbers")
        return Storage(key, dtype)


def read(path: Path) -> dict[str, np.ndarray]:
    """The state dictionary of a file of `torch.save`: name to array, read-only; bfloat16 becomes float32.

    It may be under `state_dict`, `model_state_dict` or `model`; entries beside it are ignored. Raises
    `DependencyError` for a file that is damaged, holds something other than tensors, or asks to run code.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _zipped(file) if zipped else _legacy(file)
    except DAMAGE as error:
        raise DependencyError(f"{path}: expected a PyTorch state dictionary of tensors; refused: {error}.") from None


def _zipped(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
            raise ValueError("its entries are compressed or encrypted, which torch.save does not do")
        if sum(entry.file_size for entry in entries) > _size(file):
            raise ValueError("its entries are declared larger than the file")
        folder = _folder(archive)
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers are not little-endian")
        unpickler = _Restricted(io.BytesIO(archive.read(f"{folder}data.pkl")))
        places = _places(unpickler.load())
        used = {place.storage.key: place.storage.dtype for place in places.values()}
        storages = {key: decode(archive.read(f"{folder}data/{key}"), dtype) for key, dtype in used.items()}
    return {name: place.array(storages) for name, place in places.items()}


def _folder(archive: zipfile.ZipFile) -> str:
    """The one folder of the archive, which holds data.pkl."""
    found = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise ValueError("it holds no data.pkl in one folder, as torch.save writes it")
    return found[0].removesuffix("data.pkl")


def _legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    if _Restricted(file).load() != LEGACY_MAGIC or _Restricted(file).load() != PROTOCOL:
        raise ValueError("it does not begin as torch.save's files do")
    _Restricted(file).load()  # byte order and type sizes of the writing machine; the storages are little-endian always
    unpickler = _Restricted(file)
    places = _places(unpickler.load())
    storages = {}
    for key in _Restricted(file).load():
        dtype = unpickler.dtypes[key]
        (count,) = struct.unpack("<q", file.read(8))
        length = count * itemsize(dtype)
        if not 0 <= length <= _size(file) - file.tell():
            raise ValueError("it ends too early")
        storages[key] = decode(file.read(length), dtype)
    return {name: place.array(storages) for name, place in places.items()}


def _places(saved: Any) -> dict[str, Place]:
    """Name to tensor of the saved object, which is a state dictionary or contains one."""
    if not isinstance(saved, dict):
        raise ValueError("it holds something other than named tensors")
    state = next((saved[key] for key in NESTED if isinstance(saved.get(key), dict)), saved)
    if not all(isinstance(name, str) and isinstance(value, Place) for name, value in state.items()):
        raise ValueError("it holds something other than named tensors")
    return dict(state)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
