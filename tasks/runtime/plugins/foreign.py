"""Plugins of others: modules that installed packages name as entry points, and files of a folder that a recipe names.

A package has a group of entry points for each kind, such as `headstart.heads`, and names a module for each plugin
(https://packaging.python.org/en/latest/specifications/entry-points/). A folder has a folder for each kind, such as
`heads/centred.py`; names that begin with `_` are no plugins. What is in the folder is run.
"""

import hashlib
import importlib
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tasks.runtime.errors import UsageError, brief

#: Variable with the folder of the recipe that is being run, for the processes that it starts.
FOLDER = "HEADSTART_PLUGINS"
#: The package whose modules are the files of that folder.
PACKAGE = "headstart_plugins"


@dataclass(frozen=True)
class Foreign:
    """A plugin of somebody else."""

    #: The name of its module.
    module: str
    #: The package and its version, or the folder.
    where: str
    #: The folder's file; None for a package's.
    file: Path | None = None

    def load(self) -> ModuleType:
        """The module. Raises `UsageError` if it cannot be imported, with the reason."""
        if self.file:
            _package(self.file.parents[1])
        try:
            return importlib.import_module(self.module)
        except Exception as error:  # whatever somebody's code raises
            said = f"Expected the plugin {self.module} of {self.where} to load, found {brief(error)}."
            raise UsageError(said) from error

    def code(self) -> str:
        """Digest of its code: a stage that uses it runs again when it changes. A package's helpers have its version."""
        if self.file:
            return _package(self.file.parents[1])
        origin = (spec := find_spec(self.module)) and spec.origin
        return _digest([Path(origin)] if origin else [], self.where)


def use(folder: str) -> None:
    """From now on a folder's plugins are known too, in this process and those that it starts; "" for none.

    Raises `UsageError` if there is no plugin in it.
    """
    package = sys.modules.get(PACKAGE)
    changed = package is not None and folder and package.__dict__["code"] != _digest(_files(Path(folder)))
    if folder == os.environ.get(FOLDER, "") and not changed:
        return
    if folder and not any(Path(folder).glob("*/[!_]*.py")):
        raise UsageError(f"plugins: expected a folder with plugins, such as heads/NAME.py, found none in {folder}.")
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]
    os.environ.pop(FOLDER, None)
    if folder:
        os.environ[FOLDER] = folder


def found(kind: str) -> dict[str, Foreign]:
    """The plugins of a kind, by name. Raises `UsageError` for a name that two have."""
    every = dict(_installed(kind))
    for name, own in _of_folder(kind, os.environ.get(FOLDER, "")).items():
        if name in every:
            raise UsageError(_twice(kind, name, every[name].where, own.where))
        every[name] = own
    return every


@cache
def _installed(kind: str) -> dict[str, Foreign]:
    every: dict[str, Foreign] = {}
    for point in metadata.entry_points(group=f"headstart.{kind}"):
        where = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        if point.name in every:
            raise UsageError(_twice(kind, point.name, every[point.name].where, where))
        every[point.name] = Foreign(point.module, where)
    return every


def _of_folder(kind: str, folder: str) -> dict[str, Foreign]:
    files = sorted(Path(folder, kind).glob("[!_]*.py")) if folder else []
    return {file.stem: Foreign(f"{PACKAGE}.{kind}.{file.stem}", folder, file) for file in files}


def _twice(kind: str, name: str, one: str, other: str) -> str:
    return f"{kind}: expected one plugin {name!r}, found it in {one} and {other}."


def _package(folder: Path) -> str:
    """Make the folder a package, so that a plugin can import files beside it; the digest of its code.

    The digest is of the files as they are then: they are imported once, whatever a person writes into them meanwhile.
    """
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = [str(folder)]
        package.__dict__["code"] = _digest(_files(folder))
        sys.modules[PACKAGE] = package
    return str(sys.modules[PACKAGE].__dict__["code"])


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _digest(files: list[Path], where: str = "") -> str:
    content = hashlib.sha256(where.encode())
    for file in files:
        content.update(file.read_bytes())
    return content.hexdigest()[:20]
