"""INT8: an exported OpenVINO network in 8-bit integers, and the test that lets it take the place of float32.

Post-training quantization by NNCF: training photos show the range of each activation (Nagel et al. 2021, A White Paper
on Neural Network Quantization, https://arxiv.org/abs/2106.08295). Weights are symmetric, activations are not. The
statistics of the poolings stay in float32: in 8 bits, standard deviations become so coarse that more photos are called
novel. The limit of novelty is fitted again, on validation photos.

Both networks then answer photos that neither was fitted to. INT8 may be worse by a margin: that it is not is shown by
the intervals of the differences, of accuracy, of log loss, and of the share that is called novel (non-inferiority;
each must hold, so none needs a stricter level: Berger 1982, https://doi.org/10.1080/00401706.1982.10487790).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation import calibration
from tasks.evaluation.gates import LEAST
from tasks.evaluation.statistics import bootstrap, clusters, equivalence, paired
from tasks.records import Gain
from tasks.runtime import progress
from tasks.runtime.errors import DataError, DependencyError, brief
from tasks.serving import calibrated

#: How much worse accuracy may be by default, log loss in nats, and by how much the share of photos called novel may
#: grow. Who allows a multiple of the first allows that of all.
MARGIN, LOSS_MARGIN, NOVEL_MARGIN = 0.02, 0.05, 0.05
#: Photos are timed one by one, by both networks in turns, until this time, seconds, has passed.
ROUNDS, BRIEFLY = (10, 100), 3.0
#: The processor's own choice may be bfloat16 for what stays in floating point.
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
#: What poolings are made of.
STATISTICS = {
    *("AvgPool", "MaxPool", "ReduceMean", "ReduceMax", "ReduceSum"),
    *("Power", "Sqrt", "Subtract", "Multiply", "Divide", "SquaredDifference"),
}
CARD = "README.md"


#: Gives prepared photos, uint8[n, side, side, 3] at a time.
Pixels = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Judged:
    """Photos that neither network was fitted to."""

    pixels: Pixels
    #: int[n], positions in the classes; and which are no independent evidence, as `clusters` has it.
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Change:
    """A measure of both networks on the same photos, and INT8's minus float32's with its 95 % interval."""

    float32: float
    int8: float
    change: float
    low: float
    high: float
    #: By how much INT8 may be worse.
    margin: float
    lower_is_better: bool = True

    @property
    def worse(self) -> tuple[float, float]:
        """By how much INT8 is worse, at least and at most."""
        return (self.low, self.high) if self.lower_is_better else (-self.high, -self.low)

    @property
    def times(self) -> float:
        """How many times the photos would show that it is within its margin, if the difference stays; inf: none."""
        found = self.change if self.lower_is_better else -self.change
        left = self.margin - found
        return ((self.worse[1] - found) / left) ** 2 if left > 0 else np.inf


def check() -> None:
    """Raise `DependencyError` if NNCF is not installed."""
    _library()


def replace(
    folder: Path, training: np.ndarray, validation: Pixels, judged: Judged, margin: float, false_alarms: float
) -> dict[str, Any]:
    """Put the INT8 network in the place of the exported `model.xml`, if it answers about as well; returns the figures.

    `training`: uint8[n, side, side, 3]. `false_alarms`: the largest share of photos like the training photos that are
    called novel, by the validation photos. Raises `DataError` with the figures if it is not shown that INT8 is not
    worse by more than the margin, or if NNCF cannot quantize the network.
    """
    import openvino as ov

    core, names = ov.Core(), ("float32", "int8")
    before, after = folder / "model.xml", folder / "int8.xml"
    if (units := clusters.number(judged.groups, len(judged.labels))) < LEAST:
        raise DataError(f"Expected {LEAST} independent test photos to judge INT8 on, found {units}. Nothing was kept.")
    try:
        made = quantized(core.read_model(before), training)
        limit_novelty(made, validation, false_alarms)
        ov.save_model(made, after, compress_to_fp16=False)
    except Exception as error:  # a library that rewrites networks may raise anything
        raise DataError(
            f"Expected a network that NNCF can quantize, found one that it cannot: {brief(error)}"
        ) from error
    both = [core.read_model(file) for file in (before, after)]
    compiled = [core.compile_model(model, "CPU", PRECISION) for model in both]
    batches = ((batch, len(batch)) for batch in judged.pixels())
    answers = _answers(compiled, progress.counted(batches, len(judged.labels), "compare"))
    found = compared(judged, answers[0], answers[1], margin)
    refuse(found, len(judged.labels))
    for model in both:
        model.reshape([1, *training.shape[1:]])
    hints = PRECISION | {"PERFORMANCE_HINT": "LATENCY"}
    times = _milliseconds([core.compile_model(model, "CPU", hints) for model in both], training[0])
    sizes = [sum(file.with_suffix(end).stat().st_size for end in (".xml", ".bin")) / 1e6 for file in (before, after)]
    for end in (".bin", ".xml"):
        after.with_suffix(end).rename(before.with_suffix(end))
    return {
        "training_photos": len(training),
        "photos": len(judged.labels),
        "independent": units,
        **{name: asdict(change) for name, change in found.items()},
        "milliseconds": dict(zip(names, times, strict=True)),
        "megabytes": dict(zip(names, sizes, strict=True)),
    }


def quantized(model: Any, training: np.ndarray) -> Any:
    """An OpenVINO model in INT8, by its answers for training photos, uint8[n, side, side, 3]."""
    nncf = _library()
    attends = _attends(model)
    data = nncf.Dataset(training, lambda photo: photo[None].astype(np.float32))
    return nncf.quantize(
        model,
        data,
        subset_size=len(training),
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=True,
        model_type=nncf.ModelType.TRANSFORMER if attends else None,
        ignored_scope=None if attends else nncf.IgnoredScope(names=_poolings(model)),
    )


def limit_novelty(model: Any, validation: Pixels, false_alarms: float) -> None:
    """Change a model's output `novelty`, if it has one, so that 1 is the limit again, as `calibrate` fits it.

    Rounding moves all photos away from the features of the training photos that novelty is the distance to.
    """
    import openvino as ov
    from openvino import opset13

    output = next((each for each in model.outputs if calibrated.NOVELTY in each.get_names()), None)
    if output is None:
        return
    found = _answers([ov.Core().compile_model(model, "CPU", PRECISION)], validation())
    limit = calibration.limit(found[0][calibrated.NOVELTY], false_alarms)
    result = output.get_node()
    before = result.input_value(0)
    scaled = opset13.multiply(before, np.float32(1 / limit))
    before.get_tensor().set_names(set())
    scaled.output(0).get_tensor().set_names({calibrated.NOVELTY})
    result.input(0).replace_source_output(scaled.output(0))


def compared(
    judged: Judged, float32: dict[str, np.ndarray], int8: dict[str, np.ndarray], margin: float
) -> dict[str, Change]:
    """INT8 beside float32: accuracy, log loss, and the share called novel if the networks tell it.

    `margin`: for accuracy; a multiple of `MARGIN` widens the others too.

    The answers: `probabilities` float[n, classes] and `novelty` float[n].
    """
    labels, groups = judged.labels, judged.groups
    probabilities = [each[calibrated.PROBABILITIES] for each in (int8, float32)]
    right = [bootstrap.correct(labels, each) for each in probabilities]
    better = paired.shares(paired.gains(labels, probabilities[0], probabilities[1]), equivalence.LEVEL, groups)
    losses = [bootstrap.losses(labels, each) for each in probabilities]
    lost = bootstrap.gain(losses[0], losses[1], 0, groups)
    wider = max(margin / MARGIN, 1.0)
    found = {
        "accuracy": _change(right, better, margin, lower_is_better=False),
        "log_loss": _change(losses, lost, LOSS_MARGIN * wider),
    }
    if calibrated.NOVELTY in float32:
        novel = [(each[calibrated.NOVELTY] > 1).astype(np.float64) for each in (int8, float32)]
        more = paired.shares(novel[0] - novel[1], equivalence.LEVEL, groups)
        found["novel"] = _change(novel, more, NOVEL_MARGIN * wider)
    return found


def refuse(found: dict[str, Change], photos: int) -> None:
    """Raise `DataError` with the figures if a change is not shown to be within its margin."""
    wrong = {name: each for name, each in found.items() if not each.worse[1] <= each.margin}
    if not wrong:
        return
    times = max(each.times for each in wrong.values())
    advice = "Use float32, or allow more by --margin."
    if np.isfinite(times):
        advice = f"About {math.ceil(times * photos / 10) * 10:,} test photos may tell; --margin allows larger changes."
    raise DataError(
        f"Expected INT8 to answer {photos} test photos about as well as float32, found "
        f"{'; '.join(sentence(name, each) for name, each in wrong.items())}. Nothing was kept. {advice}"
    )


def sentence(name: str, found: Change) -> str:
    """A change in words."""
    return (
        f"{name.replace('_', ' ')} {found.int8:.4f} instead of {found.float32:.4f}, a change of {found.change:+.4f} "
        f"({found.low:+.4f} to {found.high:+.4f}) where {found.margin:g} is allowed"
    )


def card(facts: dict[str, Any], figures: dict[str, Any]) -> str:
    """Markdown about the written network: what it was made from, and what it costs and loses."""
    rows = [
        f"| {name.replace('_', ' ')} | {each['float32']:.4f} | {each['int8']:.4f} | {each['change']:+.4f} "
        f"({each['low']:+.4f} to {each['high']:+.4f}) | {each['margin']:g} |"
        for name, each in figures.items()
        if isinstance(each, dict) and "low" in each
    ]
    for name, form in {"milliseconds": ".2f", "megabytes": ".1f"}.items():
        float32, int8 = (figures[name][kind] for kind in ("float32", "int8"))
        rows.append(f"| {name} | {float32:{form}} | {int8:{form}} | {int8 / float32:.2f} times | |")
    return (
        f"# {facts['model']} version {facts['version']} in INT8\n\n"
        f"Made by NNCF from the float32 network, with {figures['training_photos']} training photos. Both were compared "
        f"on {figures['photos']} test photos, of which {figures['independent']} are independent.\n\n"
        "| | float32 | INT8 | change (95 % interval) | may be worse by |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\nThe time is the median for one prepared photo by OpenVINO on the CPU that exported it, both networks in "
        "turns, each reshaped to one photo (`model.reshape([1, size, size, 3])`) and compiled with "
        "`PERFORMANCE_HINT: LATENCY` and `INFERENCE_PRECISION_HINT: f32`. `spec.json` says how photos are prepared and "
        "answers are read.\n"
    )


def _change(
    values: list[np.ndarray], by: paired.Difference | Gain, margin: float, lower_is_better: bool = True
) -> Change:
    """Of each photo's values, float[n], of INT8 and of float32, and the difference of their means."""
    ours, theirs = (float(each.mean()) for each in values)
    return Change(theirs, ours, by.value, by.low, by.high, margin, lower_is_better)


def _answers(compiled: list[Any], photos: Iterable[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """What each network says of the photos, uint8[n, side, side, 3] at a time, by the name of the output."""
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in compiled]
    for batch in photos:
        pixels = batch.astype(np.float32)
        for model, own in zip(compiled, parts, strict=True):
            outputs = model(pixels)
            own.append({output.get_any_name(): outputs[output].copy() for output in model.outputs})
    return [{name: np.concatenate([part[name] for part in own]) for name in own[0]} for own in parts]


def _milliseconds(compiled: list[Any], photo: np.ndarray) -> list[float]:
    """Median time of each network for one photo, uint8[side, side, 3]; in turns, so that other work slows both."""
    pixels, started = photo[None].astype(np.float32), time.perf_counter()
    for model in compiled:
        model(pixels)
    taken: list[list[float]] = []
    while len(taken) < ROUNDS[0] or (len(taken) < ROUNDS[1] and time.perf_counter() - started < BRIEFLY):
        taken.append([])
        for model in compiled:
            before = time.perf_counter()
            model(pixels)
            taken[-1].append(time.perf_counter() - before)
    return [float(each) for each in np.median(taken, axis=0) * 1000]


def _attends(model: Any) -> bool:
    """Whether a network has attention, whose products NNCF treats in their own way: a softmax over tokens."""
    kinds = ((op.get_type_name(), op) for op in model.get_ops())
    return any(
        kind == "ScaledDotProductAttention" or (kind == "Softmax" and len(op.output(0).partial_shape) > 2)
        for kind, op in kinds
    )


def _poolings(model: Any) -> list[str]:
    """Names of the operations of the poolings: those of `STATISTICS` that no convolution comes after."""
    nodes = [op for op in model.get_ops() if op.get_type_name() in ("Convolution", "GroupConvolution")]
    below: set[str] = set()
    while nodes:
        for value in nodes.pop().input_values():
            if (name := value.get_node().get_friendly_name()) not in below:
                below.add(name)
                nodes.append(value.get_node())
    found = (op for op in model.get_ops() if op.get_type_name() in STATISTICS)
    return [op.get_friendly_name() for op in found if op.get_friendly_name() not in below]


def _library() -> Any:
    """NNCF, quiet. Its telemetry is off, as `tasks/runtime/home.py` hides the package that would send it."""
    import logging

    try:
        import nncf
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"Expected the package {error.name} for INT8, found none: pip install 'headstart[export]'."
        ) from None
    nncf.set_log_level(logging.WARNING)
    return nncf
