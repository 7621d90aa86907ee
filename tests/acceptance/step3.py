"""Shows what backbones, heads and backends must do, a line and its figure each: about 25 minutes on 2 cores.

    uv run --no-sync python -m tests.acceptance.step3 [NUMBER …]

PyTorch has to be installed (CONTRIBUTING.md says how) for lines 3 and 5.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BIN, ROOT = Path(sys.executable).parent, Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="headstart-step3-"))
Shown = tuple[bool, str]


def headstart(*words: str) -> tuple[dict[str, Any], float]:
    """The JSON answer of a command in the home folder of this run, and its seconds."""
    started = time.perf_counter()
    command = [str(BIN / "headstart"), *words, "--json", "--home", str(HOME)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr[-500:])
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - started


def tests(*words: str) -> Shown:
    """Whether tests pass, and pytest's last line."""
    done = subprocess.run([str(BIN / "pytest"), "-q", *words], capture_output=True, text=True, cwd=ROOT)
    last = done.stdout.strip().splitlines()[-1]
    return done.returncode == 0 and "passed" in last and "skipped" not in last, last


def contract() -> Shown:
    """Every network of keras.applications and eleven KerasHub families pass."""
    return tests("tests/test_contracts.py", "tests/test_hub.py", "-k", "backbone or hub")


def tutorial() -> Shown:
    """VGG16's tutorial in under 6 minutes; the same head on ResNet50."""
    answer, seconds = headstart("train", "vgg16_tutorial")
    words = ("backbone.options.name=ResNet50", "backbone.weights=random", "name=resnet50_tutorial")
    other, more = headstart("train", "vgg16_tutorial", *(part for word in words for part in ("--set", word)))
    first, second = answer["metrics"]["accuracy"], other["metrics"]["accuracy"]
    figure = f"VGG16 {seconds:.0f} s, accuracy {first:.3f}; ResNet50, random weights, {more:.0f} s, {second:.3f}"
    return seconds < 360 and first > 0.9, figure


def parity() -> Shown:
    """PyTorch's resnet18 and vgg16 give the same features to 1e-4."""
    return tests("tests/test_torchvision.py")


def hostile() -> Shown:
    """Files that hold code are refused and write nothing."""
    return tests("tests/test_weights.py", "tests/test_applications.py", "tests/test_file.py", "-k", "code_in")


def backends() -> Shown:
    """ELPV, head only, on PyTorch within 0.5 points of TensorFlow."""
    found = {
        name: headstart("train", "elpv", "--set", f"backend={name}", "--set", "fine_tune.enabled=false")[0]
        for name in ("tensorflow", "torch")
    }
    accuracies = {name: answer["metrics"]["accuracy"] for name, answer in found.items()}
    return abs(accuracies["tensorflow"] - accuracies["torch"]) <= 0.005, str(accuracies)


def listing() -> Shown:
    """`headstart backbones` in under 2 s."""
    rows, seconds = headstart("backbones")
    return seconds < 2 and len(rows) > 40, f"{len(rows)} networks in {seconds:.2f} s"


LINES: list[Callable[[], Shown]] = [contract, tutorial, parity, hostile, backends, listing]


def main() -> None:
    """Run the lines that are named, else all; exit 1 where one falls short."""
    wanted = [int(word) for word in sys.argv[1:]] or range(1, len(LINES) + 1)
    held = []
    for number in wanted:
        line = LINES[number - 1]
        holds, figure = line()
        held.append(holds)
        print(f"{'holds' if holds else 'FALLS SHORT'}  {number}. {line.__doc__} {figure}", flush=True)
    raise SystemExit(not all(held))


if __name__ == "__main__":
    main()
