"""What is installed beside Headstart: whether it is what Headstart needs, and under which licences.

A package states its licence in its metadata (https://packaging.python.org/en/latest/specifications/core-metadata/), as
an SPDX expression, as a classifier or in words of its own, or only by the text of a file.
"""

from collections.abc import Iterator
from importlib import metadata
from typing import Any

#: SPDX's names for classifiers that say the same.
NAMES = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
#: Words of the usual texts, without which no other is looked for.
TEXTS = {
    "Apache License": "Apache-2.0",
    "Permission is hereby granted, free of charge": "MIT",
    "Redistributions in binary form": "BSD",
}
#: How a licence is called that no file and no metadata tell.
UNKNOWN = "not stated"


def unmet() -> list[str]:
    """Which packages Headstart needs in another version than the installed one, such as `pandas>=3, found 2.3.1`."""
    from packaging.requirements import Requirement

    found = []
    for text in metadata.requires("headstart") or []:
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            version = "none"
        if version == "none" or not needed.specifier.contains(version, prereleases=True):
            found.append(f"{needed.name}{needed.specifier}, found {version}")
    return found


def licences() -> list[dict[str, Any]]:
    """`package`, `version`, `licence`, and `told by`: `metadata` or `its text`, of every installed package, by name."""
    rows = {}
    for package in metadata.distributions():
        licence, by = _of(package)
        name = package.metadata["Name"]
        rows[name.lower()] = {"package": name, "version": package.version, "licence": licence, "told by": by}
    return [rows[name] for name in sorted(rows)]


def _of(package: metadata.Distribution) -> tuple[str, str]:
    stated = next(_stated(package), "")
    if stated:
        return stated, "metadata"
    for file in package.files or []:
        if file.name.upper().startswith(("LICEN", "COPYING")):
            text = file.read_text() if (place := file.locate()) and place.is_file() else ""  # type: ignore[attr-defined]
            if found := next((name for words, name in TEXTS.items() if words in text), ""):
                return found, "its text"
    return UNKNOWN, ""


def _stated(package: metadata.Distribution) -> Iterator[str]:
    """What the metadata say, the most exact first."""
    about = package.metadata
    yield from about.get_all("License-Expression", [])
    classifiers = [each.split("::")[-1].strip() for each in about.get_all("Classifier", []) if "License ::" in each]
    named = [NAMES.get(each, each) for each in classifiers if each != "OSI Approved"]
    yield from filter(None, ["; ".join(named)])
    for words in about.get_all("License", []):
        # Some packages put the whole text there.
        if words.strip().upper() not in ("", "UNKNOWN") and "\n" not in words:
            yield NAMES.get(words.strip(), words.strip())
