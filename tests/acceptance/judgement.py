"""Shows what a promotion rests on, a line and its figure each.

uv run python -m tests.acceptance.judgement [NUMBER …]
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

from tests.acceptance import audit as audit
from tests.acceptance import promotion as promotion
from tests.acceptance.shown import HOME, ROOT, Shown, headstart, main, tests

sys.path += [str(ROOT / "tests" / "unit" / "evaluation")]
sys.path.insert(0, str(ROOT / "tests" / "support"))  # where the tests' helpers are found, as pytest finds them


def paired() -> Shown:
    """Equal models: 100 resamplings, no promote; 40 fixed, 20 broken of 1,000: p = 0.013; 36, 24: undecided."""
    import numpy as np
    from test_gates import answer, case, decision, resampled

    equal = [decision(resampled(case(0, 0), seed))[0] for seed in range(100)]
    forty, thirty = (answer("not_worse_than_champion", case(*pair)) for pair in ((40, 20), (36, 24)))
    said, reason = decision(case(36, 24))
    held = "promote" not in equal and np.isclose(forty.numbers["p"], 0.0135, atol=1e-4) and forty.outcome == "passed"
    held = held and np.isclose(thirty.numbers["p"], 0.155, atol=1e-3) and said == "undecided" and bool(thirty.more)
    figures = f"{equal.count('promote')} of 100 promoted; p = {forty.numbers['p']:.4f}: {forty.outcome}; "
    return held, f"{figures}p = {thirty.numbers['p']:.3f}: {said}, {reason[:60]}"


@cache
def _elpv() -> tuple[dict[str, Any], float]:
    return headstart("train", "elpv")


def coverage() -> Shown:
    """The default run on ELPV: sets hold the label of 87 to 93 % of the test images where 90 % were asked for."""
    answer, seconds = _elpv()
    found = answer["calibration"]["test"]
    shares = [f"{each['name']} {each['value']:.1%}" for each in (found["coverage"], *found["classes"])]
    held = abs(found["coverage"]["value"] - answer["calibration"]["coverage"]) <= 0.03
    return held, f"{', '.join(shares)}; {found['set_size']:.2f} classes a set; {seconds:.0f} s in all"


def served() -> Shown:
    """MLflow's server answers curl; SavedModel, ONNX, OpenVINO and TensorFlow Lite answer as ELPV's version does."""
    _elpv()
    apart = {
        name: headstart("export", "elpv@champion", "--format", name, "--to", str(HOME / name))[0]["largest_difference"]
        for name in ("saved_model", "onnx", "openvino", "tflite")
    }
    held, said = tests("tests/system/test_readme.py", "-k", "curl or ask")
    figures = ", ".join(f"{name} {difference:.0e}" for name, difference in apart.items())
    return held and max(apart.values()) <= 1e-4, f"largest differences: {figures}; {said}"


def report() -> Shown:
    """The report of an ELPV run in Chromium: 390 and 1280 pixels, light and dark, no complaint and no request."""
    import browser

    answer, _ = _elpv()
    file, found = Path(answer["report"].removeprefix("file://")), []
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            with browser.open_page(file, width, scheme) as driver:
                found += browser.problems(driver, file)
    return not found, f"{len(found)} problems {found[:3]}"


def gates() -> Shown:
    """What else gates decide, and what a worn test set costs."""
    return tests("tests/unit/evaluation/test_gates.py", "tests/system/test_page.py")


if __name__ == "__main__":
    main(
        [
            paired,
            audit.near_duplicates,
            audit.label_flips,
            promotion.race,
            promotion.kills,
            promotion.fingerprints,
            coverage,
            report,
            served,
            gates,
        ]
    )
