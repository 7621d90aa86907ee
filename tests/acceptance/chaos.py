"""Faults at random during commands, and what is found afterwards: `uv run python -m tests.acceptance.chaos`.

Each time: a home as it was after an undisturbed run, one command, one fault at a random moment of it. The command must
end in the right answer or in an error that says what to do; the same command again must give the right answer; then
every version must verify, and nothing may be under way. The answers to compare with come from undisturbed commands.

Needs Linux, gcc, and for faults of the disk the right to mount one.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.acceptance.shown import ROOT

sys.path.insert(0, str(ROOT / "tests" / "support"))  # where the tests' helpers are found, as pytest finds them

from trouble import faults
from trouble.disturbed import World

KINDS = ("kill", "signal", "disk", "network", "byte", "clock")


def main() -> None:
    """Disturb two worlds at once: one has its registry in the home, one on a server. Exit code 1 for trouble."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="disturb this command alone")
    parser.add_argument("--minutes", type=float, default=40)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headstart-chaos-"))
    clocks = []
    for name in ("local", "remote"):
        (folder / name).mkdir()
        clocks.append(faults.Clock(folder / name))
    os.environ["LD_PRELOAD"] = clocks[0].env["LD_PRELOAD"]  # of the process that all commands are forked off
    os.environ["PYTHONWARNINGS"] = "ignore"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    worlds = [
        World(folder / name, clock, name == "remote") for name, clock in zip(("local", "remote"), clocks, strict=True)
    ]
    began, done = time.monotonic(), []
    plan = _plan(given.faults, given.seed, given.only)
    lock = threading.Lock()

    def work(world: World) -> None:
        while time.monotonic() - began < given.minutes * 60:
            with lock:
                at = next((at for at, (_, kind, _) in enumerate(plan) if _fits(world, kind)), None)
                if at is None:
                    return
                name, kind, seed = plan.pop(at)
            known = len(world.trouble)
            world.disturb(name, kind, random.Random(seed))
            done.append((name, kind))
            line = f"{len(done):4} {time.monotonic() - began:6.0f} s  {name} {kind}  {dict(world.told)}"
            print(line, *world.trouble[known:], sep="\n     ", flush=True)

    try:
        with ThreadPoolExecutor(len(worlds)) as pool:
            for _ in pool.map(World.open, worlds):
                pass
            for world in worlds:
                print({name: round(each.seconds, 1) for name, each in world.operations.items()}, flush=True)
            for _ in pool.map(work, worlds):
                pass
    finally:
        for world in worlds:
            world.close()
    for (name, kind), count in sorted(Counter(done).items()):
        print(f"{name:8} {kind:8} {count:4}")
    told = sum((world.told for world in worlds), Counter[str]())
    trouble = [each for world in worlds for each in world.trouble]
    print(
        f"{len(done)} faults in {time.monotonic() - began:.0f} s, seed {given.seed}: {dict(told)}; {len(trouble)} wrong"
    )
    sys.exit(bool(trouble))


def _fits(world: World, kind: str) -> bool:
    return (
        (kind != "network" or world.remote)
        and (kind != "byte" or not world.remote)
        and (kind != "disk" or bool(world.disk))
    )


def _plan(count: int, seed: int, only: str) -> list[tuple[str, str, int]]:
    """Which operation is disturbed how, in a random order; `serve`, the longest, half as often as the others."""
    names = (*("train", "retrain", "promote", "score") * 2, "serve")
    pairs = [(name, kind) for name in names for kind in KINDS]
    drawn = [(*pairs[number % len(pairs)], seed * 1_000_003 + number) for number in range(count)]
    random.Random(seed).shuffle(drawn)
    return [each for each in drawn if not only or each[0] == only]


if __name__ == "__main__":
    main()
