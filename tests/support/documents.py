"""The project's documents, and the blocks of commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Every document that a reader finds, by its path in the repository.
TEXTS = {
    str(file.relative_to(ROOT)): file.read_text()
    for pattern in ("*.md", "flows/**/*.md", "infra/**/*.md", "mlflow/**/README.md", "tasks/**/*.md", "tests/**/*.md")
    for file in sorted(ROOT.glob(pattern))
}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A block of a document: its language and what stands in it."""

    document: str
    language: str
    text: str

    @property
    def lines(self) -> list[list[str]]:
        """The words of each command of a `sh` block, without comments and `uv run`."""
        lines = [shlex.split(line, comments=True) for line in self.text.replace("|\n", "| ").splitlines()]
        return [words[2:] if words[:2] == ["uv", "run"] else words for words in lines if words]


BLOCKS = [Block(name, *found) for name, text in TEXTS.items() for found in _BLOCK.findall(text)]


def block(document: str, word: str) -> str:
    """The one block of a document that holds a word."""
    (found,) = (each.text for each in BLOCKS if each.document == document and word in each.text)
    return found


def inline(name: str) -> list[str]:
    """What a document sets as code in its sentences and tables."""
    return re.findall(r"`([^`\n]+)`", _BLOCK.sub("", TEXTS[name]))
