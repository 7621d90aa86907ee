"""The git commit of a folder, asked so that nothing runs that the folder's own configuration names.

A repository's configuration can name programs (`core.fsmonitor`, filters, `gpg.program`, the address of a missing
object: https://git-scm.com/docs/git-config), and a folder from somebody else can hold a repository.
"""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory


def commit(folder: Path) -> str:
    """The commit of the repository that a folder is in, `with changes` if files differ from it; "" if there is none.

    Also "" where git refuses, as it does for a repository of another user.
    """
    # Only reads names: it opens no file of the work tree and no object.
    words = ("--path-format=absolute", "--git-dir", "--git-common-dir", "--show-toplevel", "HEAD")
    found = _git(folder, "rev-parse", *words).splitlines()
    if len(found) != 4:
        return ""
    own, common, top, name = found
    return f"{name} with changes" if _changed(Path(own), Path(common), Path(top), name) else name


def _changed(own: Path, common: Path, top: Path, name: str) -> bool:
    """Whether tracked files differ from a commit, by a repository with the same objects and no configuration."""
    with TemporaryDirectory() as temporary:
        plain = Path(temporary)
        for part in ("objects", "refs"):
            (plain / part).mkdir()
        (plain / "HEAD").write_text(f"{name}\n")
        places = {"GIT_DIR": plain, "GIT_WORK_TREE": top, "GIT_INDEX_FILE": own / "index"}
        places["GIT_OBJECT_DIRECTORY"] = common / "objects"
        # A submodule has a configuration of its own.
        words = ("--porcelain", "--untracked-files=no", "--ignore-submodules=all")
        return bool(_git(top, "status", *words, **{key: str(place) for key, place in places.items()}))


def _git(folder: Path, *words: str, **places: str) -> str:
    """What git answers; "" if it fails or is not installed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", **places}
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["git", *words],  # noqa: S607
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder,
            env=env,
        )
    except (OSError, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
