"""Interpolate: try weights between the frozen network's and the fine-tuned ones, on validation images."""

import time
from dataclasses import replace

from tasks import tracking
from tasks.home import home
from tasks.records import ImagesRef, ModelRef, digest
from tasks.settings import Extract, Images, Tuning
from tasks.stage import stage
from tasks.training import fit, networks, thaw, upper
from tasks.training import interpolate as between


@stage(version=1)
def interpolate(
    images: ImagesRef,
    head: ModelRef,
    tuned: ModelRef,
    settings: Tuning,
    extract: Extract,
    augment: Images,
    seed: int,
    refit: bool = False,
) -> ModelRef:
    """The best of the networks between the two on validation images; of a refit the one at the share of `tuned`."""
    started = time.perf_counter()
    frozen, network = (networks.load(home() / each.path) for each in (head, tuned))
    part = upper.of(network, head.blocks, settings, images, extract, augment, seed, refit)
    pairs = between.moved(frozen, network)
    same = thaw.others(network, [variable for variable, _, _ in pairs] + thaw.statistics(part.model))
    before = thaw.fingerprint(same)
    validated = {}
    for share in (tuned.share,) if refit else between.SHARES:
        between.set_share(pairs, share)
        between.statistics(part.model, part.train, seed)
        logits = fit.predict(part.model, part.validation)
        validated[share] = (logits, network.get_weights(), fit.scores(logits, part.validation.labels))
    share = min(validated, key=lambda s: validated[s][2]["log_loss"])
    logits, weights, scores = validated[share]
    network.set_weights(weights)
    thaw.check_frozen(before, same)
    tracking.log_series("validation_loss", [found["log_loss"] for *_, found in validated.values()])
    address = digest("interpolated", head, tuned, augment, seed, refit)
    path, predictions = networks.keep(address, network, logits)
    return replace(
        tuned,
        path=path,
        digest=address,
        rung="interpolated",
        validation=scores,
        predictions=predictions,
        seconds=round(time.perf_counter() - started, 3),
        share=share,
    )
