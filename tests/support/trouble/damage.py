"""Damage to files, as disks and full disks do it."""

from pathlib import Path


def cut(file: Path) -> None:
    """Leave half of the file."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


def flip(file: Path, where: bytes | None = None, at: int | None = None) -> None:
    """Turn the bits of one byte: the first of these bytes, or the one at a place, or else the one in the middle."""
    whole = bytearray(file.read_bytes())
    place = whole.index(where) if where is not None else len(whole) // 2 if at is None else at
    whole[place] ^= 0xFF
    file.write_bytes(whole)
