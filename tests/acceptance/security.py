"""Does every attack and fault again that an audit of a91a795 has seen, a line and its figure each.

uv run python -m tests.acceptance.security [NUMBER …]     # about 10 minutes on 2 cores

Each line begins with the point of the audit that it belongs to, and says in brackets what was seen then.
"""

import functools
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.acceptance.shown import BIN, ROOT, Shown, ended, main, tests

sys.path[:0] = [str(ROOT / "tests" / room) for room in ("support", "system", "plugins")]  # as pytest finds them

#: A file of a few KB may take so much more memory, MB, and so long, s.
MEGABYTES, SECONDS = 300, 10
#: A user of the machine who is not the owner.
NOBODY = 65534


def _by(says: str, *named: str) -> Callable[[], Shown]:
    """A line that regression tests show."""

    def line() -> Shown:
        return tests("-n", "0", "-m", "", *[f"tests/{name}" for name in named])

    line.__doc__ = says
    return line


def _file(says: str, name: str, answer: str) -> Callable[[], Shown]:
    """A line that an attack by a file shows, in a process of its own; `answer` is a pattern of what is said."""

    def line() -> Shown:
        folder = tempfile.mkdtemp(prefix="headstart-attack-")
        script = f"from tests.acceptance import security; security.attack({name!r}, {folder!r})"
        done = ended([sys.executable, "-c", script], cwd=ROOT)
        if done.code:
            return False, f"exit code {done.code}, {done.seconds:.0f} s: {done.err[-300:]}"
        found = json.loads(done.out.splitlines()[-1])
        held = bool(re.search(answer, found["said"])) and found["megabytes"] < MEGABYTES and found["s"] < SECONDS
        figure = f"{found['bytes']} bytes took {found['megabytes']:.0f} MB and {found['s']:.2f} s"
        return held, f"{figure} ({done.megabytes:.0f} MB for the whole process): {found['said']:.160}"

    line.__doc__ = says
    return line


def attack(name: str, at: str) -> None:
    """Read the file of an attack, and print what that took."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.setrecursionlimit(1000)
    size, read = globals()[name](Path(at))
    whole = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (whole + 2**33,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (180, 180))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        said = f"answer {read()}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    took = {"s": time.perf_counter() - began, "bytes": size, "said": said.replace("\n", " ")}
    print(json.dumps(took | {"megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}))


def _pth(folder: Path, which: str) -> tuple[int, Callable[[], object]]:
    from test_weights import BOMBS

    from tasks.networks.weights import pth

    file = folder / "evil.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("w/data.pkl", BOMBS[which])
    return file.stat().st_size, lambda: pth.read(file)


def pth_memory(folder: Path) -> tuple[int, Callable[[], object]]:
    return _pth(folder, "a place far away in its memory")


def pth_time(folder: Path) -> tuple[int, Callable[[], object]]:
    return _pth(folder, "a key that takes for ever")


def hdf5_memory(folder: Path) -> tuple[int, Callable[[], object]]:
    import h5py

    from tasks.networks.backbones import applications

    applications.build(64, "random", name="MobileNetV3Small")
    file = folder / "evil.weights.h5"
    with h5py.File(file, "w") as made:
        made.create_group("layers/first").create_dataset("w", (1_200_000_000,), "<f4")
    return file.stat().st_size, lambda: applications.build(64, str(file), name="MobileNetV3Small")


def hdf5_elsewhere(folder: Path) -> tuple[int, Callable[[], object]]:
    import h5py
    import keras

    from tasks.networks.weights import hdf5

    secret, file = folder / "secret", folder / "evil.weights.h5"
    secret.write_bytes(bytes(256))
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, use_bias=False)]).save_weights(file)
    with h5py.File(file, "r+") as made:
        group = made["layers/dense/vars"]
        del group["0"]
        group.create_dataset("0", (8, 8), "<f4", external=[(str(secret), 0, 256)])
    return file.stat().st_size, lambda: hdf5.check(file)


def _gif() -> bytes:
    """A first frame of one colour, and 300 frames of one pixel, for each of which room for a whole frame was taken."""
    from helpers import encoded
    from PIL import Image

    first = encoded(Image.new("P", (2200, 2200)), "GIF")
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return first[:-1] + 300 * frame + b";"


def _small(kind: str) -> bytes:
    """A photo that is none of an attack: what is made once is made for it."""
    import helpers

    return helpers.encoded(helpers.photo(helpers.COLOURS["red"], 1), kind)


def gif_decoder(folder: Path) -> tuple[int, Callable[[], object]]:
    import tensorflow as tf

    from tasks.data.images import decode

    signature = [tf.TensorSpec([], tf.string)]
    graph = tf.function(lambda data: decode.decode(data, 10_000, 10**8), input_signature=signature)
    data = _gif()
    graph(_small("GIF"))
    return len(data), lambda: graph(data).shape


def gif_served(folder: Path) -> tuple[int, Callable[[], object]]:
    from types import SimpleNamespace

    import pandas as pd
    from tiny_networks import calibration_of, classifier

    from tasks.serving import package, pyfunc
    from tasks.settings import Images

    network = classifier()
    network.save(folder / "trained.keras")
    (folder / "served").mkdir()
    found, _ = calibration_of(network, folder)
    package.write(folder / "served", folder / "trained.keras", ("blue", "green", "red"), Images(size=32), found)
    model = pyfunc.Classifier()
    model.load_context(SimpleNamespace(artifacts={"classifier": str(folder / "served")}))

    def asked(data: bytes) -> object:
        return list(model.predict(None, pd.DataFrame({"image": [data]}))["label"])

    data = _gif()
    asked(_small("GIF"))
    return len(data), lambda: asked(data)


def gif_ingest(folder: Path) -> tuple[int, Callable[[], object]]:
    from tasks.data.images import facts

    (folder / "small.gif").write_bytes(_small("GIF"))
    facts.read(str(folder / "small.gif"), 32, 10**8)
    (folder / "evil.gif").write_bytes(data := _gif())
    return len(data), lambda: facts.read(str(folder / "evil.gif"), 32, 10**8)[0].get("error") or "no error"


def jpeg_scans(folder: Path) -> tuple[int, Callable[[], object]]:
    from helpers import encoded
    from PIL import Image

    from tasks.data.images import facts

    data = encoded(Image.new("RGB", (600, 600)), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    data = data[:first] + 500 * data[first : data.index(b"\xff", first + 2)] + data[first:]
    (folder / "small.jpg").write_bytes(_small("JPEG"))
    facts.read(str(folder / "small.jpg"), 32, 10**8)
    (folder / "evil.jpg").write_bytes(data)
    return len(data), lambda: facts.read(str(folder / "evil.jpg"), 32, 10**8)[0]["error"]


def many_models(folder: Path) -> tuple[int, Callable[[], object]]:
    from tasks.runtime.home import configure

    configure(folder / "home")
    from tasks.services import tracking
    from tasks.services.registry import promotion, registered_models, versions

    for number in range(120):
        registered_models.create(f"m{number}")
        tracking.client().create_model_version(f"m{number}", "/nowhere", tags={"headstart.tables": f"t{number}"})
    return 0, lambda: f"{len(promotion.overview(None))} models listed, {len(versions.tables_in_use())} tables in use"


@functools.cache
def _served() -> Any:
    """`headstart serve` with a watch, which the last of its lines ends."""
    import helpers
    from test_serve import Served

    folder = Path(tempfile.mkdtemp(prefix="headstart-served-"))
    folder.chmod(0o755)  # the files in it keep others out by themselves
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos", each=8)))
    return Served(folder, ["serve", "r.toml", "--watch", "60"], "colours")


def another_user() -> Shown:
    """1. Another user asks the server of `serve` for deployments, changes one, and looks for the password
    [ran a shell in 15 s]."""
    there = _served()
    deployment = there.ask("deployments/name/watch/colours")["id"]
    step = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id > /tmp/planted"}}]}
    asked = [
        ("POST", "deployments/filter", {}),
        ("PATCH", f"deployments/{deployment}", step),
        ("POST", f"deployments/{deployment}/create_flow_run", {}),
        ("GET", "admin/settings", None),
    ]
    files = [str(there.secret), *(f"/proc/{pid}/environ" for pid in (there.process.pid, there.server()))]
    with _as_nobody() as run:
        codes, read = run(there.api, asked, files)
    who = "another user" if os.geteuid() == 0 else "without a password"
    unchanged = there.ask(f"deployments/{deployment}").get("pull_steps") in (None, [])
    return set(codes) <= {401, 403} and not read and unchanged, (
        f"{who}: answers {codes}, {len(read)} of {len(files)} places with the password read; nothing changed: {unchanged}"
    )


@contextmanager
def _as_nobody() -> Iterator[Callable[..., Any]]:
    """A function that asks and reads in a process of another user, if this one may become it."""

    def run(api: str, asked: list[tuple[str, str, Any]], files: list[str]) -> tuple[list[int], list[str]]:
        reading, writing = os.pipe()
        if not (child := os.fork()):
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            os.write(writing, json.dumps([_codes(api, asked), [file for file in files if _can_read(file)]]).encode())
            os._exit(0)
        os.waitpid(child, 0)
        return json.loads(os.read(reading, 10_000))

    yield run


def _codes(api: str, asked: list[tuple[str, str, Any]]) -> list[int]:
    import urllib.error
    import urllib.request

    found = []
    for method, path, body in asked:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        try:
            request = urllib.request.Request(f"{api}/{path}", data, headers, method=method)
            found.append(urllib.request.urlopen(request, timeout=30).status)
        except urllib.error.HTTPError as error:
            found.append(error.code)
    return found


def _can_read(file: str) -> bool:
    try:
        Path(file).read_bytes()
    except OSError:
        return False
    return True


def other_sites() -> Shown:
    """1. Another site's page and another host's name ask it [CORS `*`, any Host]."""
    import urllib.error
    import urllib.request

    api, status, allowed = _served().api, 0, None
    asked = urllib.request.Request(f"{api}/health", headers={"Origin": "http://elsewhere.example"})
    allowed = urllib.request.urlopen(asked, timeout=30).headers["Access-Control-Allow-Origin"]
    with suppress(urllib.error.HTTPError):
        asked = urllib.request.Request(f"{api}/health", headers={"Host": "elsewhere.example"})
        status = urllib.request.urlopen(asked, timeout=30).status
    return allowed is None and status == 0, f"allowed origin {allowed}; another Host is {'answered' if status else 'refused'}"


def noticed() -> Shown:
    """14. Its Prefect server is killed [silent for 150 s]."""
    there = _served()
    os.kill(there.server(), signal.SIGKILL)
    began = time.monotonic()
    there.says("it is started again")
    said = time.monotonic() - began
    there.says("answers again")
    return said < 10, f"said after {said:.1f} s, answers again after {time.monotonic() - began:.1f} s"


def ends() -> Shown:
    """14. It is told to end while its server does not answer [deaf for 120 s]."""
    import psutil

    there = _served()
    server = there.server()
    below = psutil.Process(there.process.pid).children(recursive=True)
    os.kill(server, signal.SIGSTOP)
    began = time.monotonic()
    there.process.send_signal(signal.SIGTERM)
    there.process.wait(200)
    took = time.monotonic() - began
    _, alive = psutil.wait_procs(below, timeout=5)
    _served.cache_clear()
    return took < 10 and not alive, f"ended after {took:.1f} s, {len(alive)} of {len(below)} processes left"


def first_commands() -> Shown:
    """9. Two first commands at once on a new home, five times [5 of 5 failed, 2 broken databases]."""
    import helpers

    folder = Path(tempfile.mkdtemp(prefix="headstart-first-"))
    (folder / "r.toml").write_text(helpers.recipe(helpers.photos(folder / "photos", each=8)))
    well, sound = 0, 0
    for number in range(5):
        command = [str(BIN / "headstart"), "check", "r.toml", "--home", f"home-{number}"]
        both = [
            subprocess.Popen(command, cwd=folder, env=helpers.outside(), stdout=-3, stderr=-3) for _ in range(2)
        ]
        well += [process.wait(300) for process in both] == [0, 0]
        sound += all(_whole(file) for file in (folder / f"home-{number}").rglob("*.db"))
    return well == sound == 5, f"{well} of 5 tries ended well, the databases are whole after {sound}"


def _whole(file: Path) -> bool:
    import sqlite3

    with sqlite3.connect(file) as database:
        return database.execute("pragma integrity_check").fetchone() == ("ok",)


LINES: list[Callable[[], Shown]] = [
    another_user,
    other_sites,
    noticed,
    ends,
    _file("5. A `.pth` file of 231 bytes [7.8 GB]:", "pth_memory", "larger|expected"),
    _file("5. A `.pth` file of 713 bytes [endless]:", "pth_time", "expected"),
    _file("5. HDF5 weights of 1.4 KB [4.8 GB]:", "hdf5_memory", "expected the weights of"),
    _file("5. HDF5 weights that are another file's bytes [read]:", "hdf5_elsewhere", "in the file itself"),
    _file("5. A GIF of 8 KB in the decoder of training [4.7 GB]:", "gif_decoder", "answer"),
    _file("5. The same in a served version [4.7 GB]:", "gif_served", "answer"),
    _file("5. The same at ingest:", "gif_ingest", "answer"),
    _file("5. A progressive JPEG of hundreds of scans:", "jpeg_scans", "scans"),
    first_commands,
    _file("15. 120 models [the first 100 alone]:", "many_models", "120 models listed, 120 tables"),
]

if __name__ == "__main__":
    main(LINES)
