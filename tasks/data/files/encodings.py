"""Text files in any usual encoding."""

import re
from dataclasses import dataclass
from pathlib import Path

from tasks.runtime.errors import DataError, UsageError, few

MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
#: What most programs on Windows write, and a rarer one whose bytes look the same.
USUAL, LATIN = "cp1252", ("cp1252", "cp1250")
#: Tried where a file without a mark is not UTF-8.
OTHERS = [*LATIN, "utf_16_le", "utf_16_be", "cp1251", "cp1253", "shift_jis", "euc_kr", "gb18030", "big5"]
#: Bytes of the lines that are not ASCII, which decide.
SAMPLE = 2**16
#: The setting that decides instead.
SETTING = "source.options.encoding"
HINT = f"Save it as UTF-8, or name its encoding in {SETTING}."


@dataclass(frozen=True)
class Text:
    """A file's text."""

    text: str
    #: The encoding, if it was a guess.
    guessed: str = ""

    def notes(self, name: str) -> tuple[str, ...]:
        """A sentence on the guess, with up to three words by which a person sees whether it is right."""
        if not self.guessed:
            return ()
        odd: list[str] = []
        for word in re.finditer(r"[^\W_]+", self.text):
            if not word[0].isascii() and word[0] not in odd and len(odd) < 3:
                odd.append(word[0])
        shown = f", with words such as {few(odd)}" if odd else ""
        return (
            f"{name} is not UTF-8: it was read as {self.guessed}{shown}. If that looks wrong, name the encoding in "
            f"{SETTING}.",
        )


def check(encoding: str) -> None:
    """Raise `UsageError` for an encoding that Python does not know."""
    try:
        "".encode(encoding)
    except (LookupError, ValueError, TypeError):
        raise UsageError(
            f"{SETTING}: expected an encoding that Python knows, such as utf-8, cp1252 or cp1250, found {encoding!r}."
        ) from None


def read(path: Path, encoding: str | None = None) -> Text:
    """A file's text, in this encoding or in the one that its bytes tell, without the mark at its beginning.

    Raises `DataError` if it is empty or no text.
    """
    data = path.read_bytes()
    encoding = encoding or next((MARKS[mark] for mark in MARKS if data.startswith(mark)), None)
    found = Text(_decoded(path, data, encoding).removeprefix("\ufeff")) if encoding else _told(path, data)
    if not found.text.strip():
        raise DataError(f"{path}: expected a table, found an empty file.")
    if "\0" in found.text.lstrip().partition("\n")[0]:
        raise DataError(f"{path}: expected text, found zero bytes: it is no text, or UTF-16 without a mark. {HINT}")
    return found


def _told(path: Path, data: bytes) -> Text:
    try:
        return Text(data.decode())
    except UnicodeDecodeError:
        pass
    # Of lines in ASCII a few are enough, unless it is UTF-16, whose lines hold zero bytes.
    odd = b"" if b"\0" in data else b"\n".join(line for line in data.split(b"\n") if not line.isascii())
    from charset_normalizer import from_bytes

    found = from_bytes(data[: SAMPLE // 4] + odd[:SAMPLE], cp_isolation=OTHERS).best()
    if found is None:
        raise DataError(f"{path}: expected text, found bytes in no known encoding. {HINT}")
    if found.encoding in LATIN:
        try:
            return Text(data.decode(USUAL), USUAL)
        except UnicodeDecodeError:
            pass
    return Text(_decoded(path, data, found.encoding), found.encoding)


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        place = f" at {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise DataError(f"{path}: expected text in {encoding}, found other bytes{place}. {HINT}") from None
