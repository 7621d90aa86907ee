"""What promotion, rollback and fingerprints must do, a line each; about six minutes on 2 cores.

uv run python -m tests.acceptance.promotion [NUMBER …]
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tests.acceptance.shown import BIN, ROOT, Shown, headstart, main

sys.path.insert(0, str(ROOT / "tests" / "support"))  # where the tests' helpers are found, as pytest finds them

#: A home of its own, for processes that share what they inherit.
APART = Path(tempfile.mkdtemp(prefix="headstart-promotion-"))


@contextmanager
def _apart() -> Iterator[None]:
    from tasks.runtime.home import configure

    with mock.patch.dict(os.environ):
        configure(APART)
        yield


def race() -> Shown:
    """16 processes promote different versions at once, 20 rounds: one champion, previous right, no gap in ledger."""
    with _apart():
        import tiny_versions
        from trouble import crowd

        from tasks.services.registry import ledger

        numbers = [tiny_versions.register("race", 2.0 + number, opponent="") for number in range(16)]
        problems = crowd.race("race", numbers, 20)
        entries = ledger.entries("race")
    return not problems, f"{len(entries)} entries, {len(problems)} problems {problems[:2]}"


def kills() -> Shown:
    """SIGKILL in a promotion, 20 moments: the next command says so and repairs; aliases point to verified versions."""
    with _apart():
        import tiny_versions
        from trouble import crowd

        from tasks.services.registry import ledger, promotion, registered_models, versions

        first, second, bad = (tiny_versions.register("kills", 2.0 + number, opponent="") for number in range(3))
        _flip(tiny_versions.files("kills", bad) / "MLmodel", 40)
        promotion.promote("kills", first)
        told, problems = 0, []
        for moment in crowd.moments(20):
            order = (
                [second, first] if registered_models.aliases_of("kills").get("champion") == first else [first, second]
            )
            registered_models.place("kills", registered_models.aliases_of("kills") | {"challenger": order[0]})
            crowd.kill("kills", order, bad, moment)
            pointed = set(registered_models.aliases_of("kills").values())
            told += "interrupted" in _told("models", "kills")
            for each in pointed | set(registered_models.aliases_of("kills").values()):
                versions.verify("kills", each)  # raises where a version is not what it should be
            problems += [f"{moment}: {text}" for text in crowd.disorder("kills")]
            problems += [f"{moment}: it is still pending"] if ledger.begun("kills") else []
    return (
        not problems and told >= 10,
        f"{told} of 20 left something to repair; {len(problems)} problems {problems[:2]}",
    )


def fingerprints() -> Shown:
    """One byte changed in any file, or the preprocessing or a weight with the manifest made anew: the check fails."""
    with _apart():
        name, folder = _trained()
        files = [file for file in folder.rglob("*") if file.is_file() and file.name != "registered_model_meta"]
        draw = random.Random(0)
        missed = [file.name for file in files if not _found(name, file, draw.random())]
        ways = {"fit": _other_fit, "channels": _other_channels, "one weight": _other_weight}
        said = {way: _answers_otherwise(name, folder, change) for way, change in ways.items()}
        kept = _verdict(name)
    held = not missed and all(said.values()) and kept == ""
    figures = "; ".join(f"{way}: {text.partition('golden/')[2][:75]}" for way, text in said.items())
    return held, f"{len(files) - len(missed)} of {len(files)} files; {figures}"


def _told(*words: str) -> str:
    """What a command says on standard error."""
    command = [str(BIN / "headstart"), *words, "--home", str(APART)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stderr


def _trained() -> tuple[str, Path]:
    """A version of a real network, on photos that are not square and hard to tell apart, and its folder."""
    import helpers
    import tiny_versions

    photos, head_alone = APART / "photos", '[ladder]\nstart_at = "head"\nstop_at = "head"'
    for label, colour in {"reddish": (132, 120, 120), "bluish": (120, 120, 132)}.items():
        (photos / label).mkdir(parents=True)
        for number in range(24):
            photo = helpers.photo(colour, number + len(label) * 100)
            photo.resize((60, 40)).save(photos / label / f"{number}.png")
    (APART / "r.toml").write_text(helpers.recipe(photos, "printed", head_alone))
    answer, _ = headstart("train", str(APART / "r.toml"), home=APART)
    return "printed", tiny_versions.files("printed", answer["version"])


def _flip(file: Path, place: int) -> bytes:
    before = file.read_bytes()
    changed = bytearray(before)
    changed[place] ^= 1
    file.write_bytes(bytes(changed))
    return before


def _found(name: str, file: Path, where: float) -> bool:
    before = _flip(file, int(where * file.stat().st_size))
    said = _verdict(name)
    file.write_bytes(before)
    return file.name in said


def _verdict(name: str) -> str:
    """What `verify` complains of, "" for nothing."""
    from tasks.runtime.errors import DataError
    from tasks.services.registry import versions

    try:
        versions.verify(name, "1")
    except DataError as error:
        return str(error)
    return ""


def _answers_otherwise(name: str, folder: Path, change) -> str:
    """What is said of a version that someone has changed and sealed again; put back afterwards."""
    import shutil

    import tiny_versions

    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    change(next(folder.rglob("spec.json")).parent)
    tiny_versions.sealed_again(name, "1")
    said = _verdict(name)
    shutil.rmtree(folder)
    kept.rename(folder)
    tiny_versions.sealed_again(name, "1")
    return said if "golden/" in said else ""


def _other_fit(folder: Path) -> None:
    _decoder(folder, lambda decode: decode, "pad")


def _other_channels(folder: Path) -> None:
    _decoder(folder, lambda decode: lambda data: decode(data)[..., ::-1], "crop")


def _decoder(folder: Path, changed, fit: str) -> None:
    import tensorflow as tf

    from tasks.data.images.decode import preparer

    decoder = tf.Module()
    decode = changed(preparer(32, fit, 100_000_000))
    decoder.decode = tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)])
    tf.saved_model.save(decoder, str(folder / "decoder"))


def _other_weight(folder: Path) -> None:
    import keras

    network = keras.saving.load_model(folder / "network.keras", compile=False)
    last = [variable for variable in network.variables if variable.shape and variable.shape[-1] == 2][-1]
    values = last.numpy()
    values.flat[0] += 0.05
    last.assign(values)
    network.save(folder / "network.keras")


if __name__ == "__main__":
    main([race, kills, fingerprints])
