"""What the project's statistics claim, and what simulations of its own functions measure.

uv run python -m tests.statistics                  # all, as a table in Markdown
uv run python -m tests.statistics decisions looks  # some parts
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.statistics import lines

if __name__ == "__main__":
    started, places = time.perf_counter(), lines.places(sys.argv[1:])
    print("| procedure | claim | measured |\n|---|---|---|", flush=True)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for procedure, claim, measured, seconds in pool.map(lines.measured, places):
            print(f"| {procedure} | {claim} | {measured} |", flush=True)
            print(f"{seconds:5.1f} s  {procedure}", file=sys.stderr)
    print(f"{len(places)} lines in {time.perf_counter() - started:.0f} s", file=sys.stderr)
