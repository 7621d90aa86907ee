"""Damage to files: of any kind, and of kinds whose parts are known."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]

#: What a format's counts and sizes are least likely to be tested with.
EDGES = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
WORD = re.compile(rb"[A-Za-z_]+|\d+|\s+|.", re.DOTALL)
WORDS = (
    *(b"0", b"-1", b"1e999", b"nan", b"true", b"null", b"9" * 30, b"9" * 5000, b"0.5", b"1979-05-27", b"\xff", b"\0"),
    *(b'""', b"''", b'"""', b"[", b"]", b"{", b"}", b"[]", b"{}", b",", b"=", b".", b"\\", b"\n", b"\r", b"\t", b";"),
    *(
        b"..",
        b"/",
        b"/etc/passwd",
        b"s3://bucket/x",
        b"file:///dev/zero",
        b"~nosuchuser",
        b"x" * 3000,
        b"[" * 3000,
        b'{"a":' * 3000,
    ),
    *(b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"a.b", b"__class__", b"path", b"image", b"label", b"#"),
)


def damaged(data: bytes, rng: Rng) -> bytes:
    """The bytes with one to three changes: bits, bytes, zeros, numbers, parts put in, doubled, swapped or cut off."""
    made = bytearray(data) or bytearray(1)
    for _ in range(rng.integers(1, 4)):
        # Half of the changes hit the header.
        at, other = (int(rng.integers(0, min(len(made), 64) if rng.random() < 0.5 else len(made))) for _ in range(2))
        random = rng.integers(0, 256, int(rng.integers(1, 30)), "uint8").tobytes()
        match rng.integers(0, 9):
            case 0:
                made[at] ^= 1 << int(rng.integers(8))
            case 1:
                made[at] = random[0]
            case 2:
                made[at : at + len(random)] = bytes(len(random))
            case 3:
                made[at:at] = random
            case 4:
                made[at : at + 16], made[other : other + 16] = made[other : other + 16], made[at : at + 16]
            case 5:
                made += random
            case 6:
                width = 2 ** int(rng.integers(4))
                number = EDGES[rng.integers(len(EDGES))] % 256**width
                made[at : at + width] = number.to_bytes(width, "little" if rng.random() < 0.5 else "big")
            case 7:
                made[at:at] = made[other : other + 2 ** int(rng.integers(1, 10))]
            case _:
                del made[max(at, len(made) // 2) :]
            # At least one byte is left, to be changed next.
        made = made or bytearray(1)
    return bytes(made)


def reworded(data: bytes, rng: Rng) -> bytes:
    """A text with words, numbers and signs replaced, doubled, swapped or left out."""
    words = WORD.findall(data) or [b""]
    for _ in range(rng.integers(1, 4)):
        at, other = (int(rng.integers(len(words))) for _ in range(2))
        match rng.integers(0, 5):
            case 0:
                words[at] = WORDS[rng.integers(len(WORDS))]
            case 1:
                words.insert(at, WORDS[rng.integers(len(WORDS))])
            case 2:
                words[at], words[other] = words[other], words[at]
            case 3:
                words[at:at] = words[other : other + int(rng.integers(1, 40))]
            case _:
                del words[at : at + int(rng.integers(1, 10))]
                words = words or [b""]
    return b"".join(words)


def archived(data: bytes, rng: Rng) -> bytes:
    """A zip archive with one entry damaged, emptied, doubled, renamed or left out."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist() if entry.file_size < 2**20]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError, struct.error):
        return damaged(data, rng)
    if not entries or rng.random() < 0.2:
        return damaged(data, rng)
    at = int(rng.integers(len(entries)))
    name, content = entries[at]
    match rng.integers(0, 12):
        case 0:
            del entries[at]
        case 1:
            entries.append((f"{name}/../{name}", content))
        case 2:
            entries[at] = (entries[int(rng.integers(len(entries)))][0], content)
        case 3:
            entries[at] = (name, b"")
        case _:
            change = reworded if PurePosixPath(name).suffix == ".json" else damaged
            entries[at] = (name, change(content, rng))
    out = io.BytesIO()
    method = zipfile.ZIP_STORED if rng.random() < 0.8 else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w", method) as archive:
        for each, content in dict(entries).items():
            archive.writestr(each, content)
    return out.getvalue()
