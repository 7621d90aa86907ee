"""HDF5 files of strangers: checked before anything is read from them.

HDF5 (https://support.hdfgroup.org/documentation/) lets a name stand for data in another file: by external links,
external storage and virtual data sets. A file of a kilobyte can also describe an array of any size. Weights need
nothing of that.
"""

import json
import math
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from tasks.networks.weights import files
from tasks.runtime.errors import few

#: An array may be so many times as large as the bytes that it takes in the file: weights are hardly compressible.
GROWTH = 50
#: Bytes that it may have whatever it takes: small arrays of zeros are not stored at all.
SMALL = 2**20
#: Of all arrays together, for files with very many of them.
SMALL_TOGETHER = 2**26
#: NumPy's kinds of numbers.
NUMBERS = "fiub"
CONFIGURATION, WEIGHTS = "config.json", ".weights.h5"
#: How a file begins, and by its version where the widths of addresses and lengths are: 8 bytes, as h5py writes them.
START, WIDTHS = b"\x89HDF\r\n\x1a\n", {0: 13, 1: 13, 2: 9, 3: 9}
#: How a heap begins that texts of any length are in.
HEAP = b"GCOL\x01"
CHUNK = 2**20


def check(file: Path | IO[bytes]) -> int:
    """How many numbers an HDF5 file holds. Raises `ValueError` unless all in it is numbers that it holds itself."""
    import h5py

    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as raw:
        _check_heaps(raw)
    with h5py.File(file) as opened:
        _check_texts(opened)
        waiting: list[Any] = [opened]
        seen: set[Any] = set()
        grown = numbers = 0
        while waiting:
            group = waiting.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{few([name], 1)} is a link: expected arrays in the file itself")
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in seen:
                    continue
                seen.add(place)
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                    _check_texts(item)
                elif isinstance(item, h5py.Dataset):
                    grown += _growth(item)
                    numbers += item.size or 0
        if grown > SMALL_TOGETHER:
            raise ValueError(f"its arrays have {grown} bytes more than the file can hold")
    return numbers


def check_keras(path: Path) -> int:
    """As `check`, for the arrays in a `.keras` file. Raises `ValueError` for a file that is none, too."""
    numbers = 0
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > GROWTH * path.stat().st_size:
                raise ValueError("its entries are too large for the file")
            for entry in archive.infolist():
                if entry.filename == CONFIGURATION:
                    json.loads(archive.read(entry), object_hook=_no_state)
                elif entry.filename.endswith(WEIGHTS):
                    with archive.open(entry) as file:
                        numbers += check(file)
    except files.DAMAGE as error:
        raise ValueError(str(error)) from None
    return numbers


def check_whole(path: Path) -> int:
    """As `check`, for a `.h5` file of a whole network. Raises `ValueError` where its configuration names code, too."""
    import h5py

    numbers = check(path)
    with h5py.File(path) as opened:
        text = opened.attrs.get("model_config")
        if not isinstance(text, str | bytes):
            raise ValueError("it has weights, but no network: save it with model.save()")
        json.loads(text, object_hook=_no_code)
    return numbers


def _no_code(configuration: dict[str, Any]) -> dict[str, Any]:
    """Of Keras' own classes alone, and none that holds a function."""
    name, package = configuration.get("class_name"), str(configuration.get("module") or "keras").partition(".")[0]
    if name == "Lambda" or package not in ("keras", "keras_hub"):
        raise ValueError(f"it has a {few([str(name)], 1)}, which can be code")
    return _no_state(configuration)


def _no_state(configuration: dict[str, Any]) -> dict[str, Any]:
    """A layer that keeps a state makes one of the size that its file asks for; images have no use for it."""
    if configuration.get("stateful") is True:
        raise ValueError("it has a layer with a state from one batch to the next")
    return configuration


def _check_heaps(file: IO[bytes]) -> None:
    """Raise `ValueError` for a heap on which HDF5's library, 1.14, goes round for ever: an entry takes no space.

    Section III.E of https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html.
    """
    start = file.read(16)
    if not start.startswith(START) or start[WIDTHS.get(start[8], 16) :][:2] != b"\x08\x08":
        raise ValueError("it does not begin as HDF5 files of h5py do")
    for place in list(_places(file, HEAP)):
        file.seek(place + 8)
        (size,) = struct.unpack("<Q", file.read(8).ljust(8))
        heap, at = file.read(max(0, min(size, SMALL_TOGETHER) - 16)), 0
        while at + 16 <= len(heap):
            index, length = struct.unpack_from("<H6xQ", heap, at)
            taken = 16 + -(-length // 8) * 8 if index else length  # what is free counts its own header
            if not 16 <= taken <= len(heap) - at:
                raise ValueError("its heap of texts is damaged")
            at += taken
    file.seek(0)


def _places(file: IO[bytes], mark: bytes) -> Iterator[int]:
    """Where a mark is in a file, from its beginning."""
    file.seek(0)
    before, at = b"", 0
    while chunk := file.read(CHUNK):
        text = before + chunk
        yield from (at - len(before) + found.start() for found in re.finditer(re.escape(mark), text))
        at, before = at + len(chunk), text[1 - len(mark) :]


def _check_texts(group: Any) -> None:
    """Raise `ValueError` for texts of a group that are lists, or differ from their space: a reader ends or worse."""
    import h5py

    for number in range(h5py.h5a.get_num_attrs(group.id)):
        text = h5py.h5a.open(group.id, index=number)
        kind, count = text.get_type(), math.prod(text.shape or ())
        if isinstance(kind, h5py.h5t.TypeVlenID):
            raise ValueError("it has lists beside its arrays: expected texts")
        if not isinstance(kind, h5py.h5t.TypeStringID) or not count:
            continue
        size = 16 if kind.is_variable_str() else kind.get_size()  # of any length: a pointer to a heap
        if (kind.is_variable_str() and kind.get_size() != 8) or text.get_storage_size() != size * count:
            raise ValueError("its texts are damaged")


def _growth(array: Any) -> int:
    """How many bytes more an array has than it may take in the file."""
    if array.external or array.is_virtual:
        raise ValueError(f"{few([array.name], 1)} lies in another file: expected arrays in the file itself")
    if array.dtype.kind not in NUMBERS:
        if array.nbytes <= SMALL and array.dtype.kind in "SOV":
            return 0  # Keras writes short texts beside the numbers
        raise ValueError(f"{few([array.name], 1)} holds {array.dtype}: expected numbers")
    stored = array.id.get_storage_size()
    if array.nbytes > max(SMALL, GROWTH * stored):
        raise ValueError(f"{few([array.name], 1)} has {array.nbytes} bytes, but takes {stored} bytes in the file")
    return max(0, int(array.nbytes) - GROWTH * stored)
