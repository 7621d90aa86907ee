"""PyTorch weight files, read without PyTorch and without running code in them.

Both formats of `torch.save` are supported: since PyTorch 1.6 an uncompressed zip archive with `NAME/data.pkl` and the
bytes of each storage in `NAME/data/KEY`; before that a sequence of pickles, then the bytes of each storage
(https://github.com/pytorch/pytorch/blob/main/torch/serialization.py). A pickle is a program that may name any function
to call; here only an ordered dictionary, tensors, parameters and storages are allowed, the rest is refused. A few bytes
of such a program can also ask for any memory or time, so it is run by Python's own slower reader, which knows only the
instructions that state dictionaries are made of.
"""

import collections
import io
import os
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tasks.networks.weights.files import DAMAGE
from tasks.networks.weights.storages import STORAGES, Place, Storage, decode, itemsize
from tasks.runtime.errors import DependencyError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
#: Where training scripts put the state dictionary when they save more than that.
NESTED = ("state_dict", "model_state_dict", "model")


#: By their names in pickletools; others make objects of other kinds, or numbers of text of any length.
ALLOWED = (
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES"),
    *("SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE"),
    *("TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT"),
    *("MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "BINPERSID", "REDUCE", "BUILD"),
)
PYTHONS: Any = pickle._Unpickler
INSTRUCTIONS: dict[int, Any] = {
    ord(each.code): PYTHONS.dispatch[ord(each.code)] for each in pickletools.opcodes if each.name in ALLOWED
}


def _rebuild_tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *rest: Any) -> Place:
    whole = all(type(number) is int for number in (offset, *size, *stride))
    if not isinstance(storage, Storage) or not whole:
        raise pickle.UnpicklingError("a tensor is not described by a storage and whole numbers")
    return Place(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: Any, *rest: Any) -> Any:
    return tensor


def _ordered(pairs: Any = ()) -> "collections.OrderedDict[str, Any]":
    made = collections.OrderedDict[str, Any]()
    for key, value in pairs:
        made[_key(key)] = value
    return made


def _key(key: Any) -> Any:
    """The key of a dictionary. The hash of a tuple can take for ever: of tuples that hold one another twice."""
    if not isinstance(key, str | int):
        raise pickle.UnpicklingError("a key is neither text nor a whole number")
    return key


class _Bounded:
    """A file that gives no more than it has, however much is asked for: a buffer is made before it is filled."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        if not 0 <= count <= _left(self.file):
            raise EOFError("it ends too early")
        return self.file.read(count)


class _Restricted(PYTHONS):
    """Allows only tensors, and records the types of their storages by key."""

    dispatch = dict(INSTRUCTIONS)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(_Bounded(file))
        self.dtypes: dict[str, str] = {}

    def load(self) -> Any:
        try:
            return super().load()
        except KeyError as error:
            raise pickle.UnpicklingError(f"it has an instruction that weights do not need: {error}") from None

    def _set(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_key(key)] = value

    def _set_all(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][_key(key)] = value

    def _state(self) -> None:
        """What else an object has, such as the versions of an ordered dictionary's layers: not used."""
        self.stack.pop()

    dispatch |= {pickle.SETITEM[0]: _set, pickle.SETITEMS[0]: _set_all, pickle.BUILD[0]: _state}

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): _ordered,
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
        texts = all(isinstance(each, str) for each in (kind, dtype, key))
        if not texts or kind != "storage" or dtype not in STORAGES.values() or any(each is not None for each in view):
            raise pickle.UnpicklingError("it asks for something other than a storage")
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
    except (pickle.UnpicklingError, *DAMAGE) as error:
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
        if not 0 <= length <= _left(file):
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
    if isinstance(file, io.BytesIO):
        return file.getbuffer().nbytes
    return os.fstat(file.fileno()).st_size


def _left(file: BinaryIO) -> int:
    return _size(file) - file.tell()
