"""Whether two images show the same, or one a part of the other: the aligned correlation of their fine structure.

Photos of one kind (solar cells, digits, X-rays) share their large, strong structures: a frame, a bar, a background.
They differ in fine, faint ones. The comparison therefore gives all frequencies about the same weight: phase-only
correlation, up to 12 cycles per image (Ito et al. 2004, A Fingerprint Matching Algorithm Using Phase-Only Correlation,
IEICE Trans. Fundamentals E87-A:682-691), with a floor that suppresses rounding and JPEG noise.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from tasks.data.audits import views

#: Side of a compared image (pixels), highest frequency (cycles), and noise floor: an amplitude of one grey level or so.
SIDE, CYCLES, FLOOR = 32, 12, 30.0
#: Share of the side over which an image fades out at each edge.
FADES = 0.15
#: Changes to try around the best scale so far, and the score that a pair needs for the next step. The worst of 344
#: planted copies had 0.58, 0.76 and 0.83 after the first three steps.
STEPS = ((0.0, 0.5), (0.03, 0.7), (0.015, 0.8), (0.007, 0.0))
#: Correlations for each scale: the first finds the offset of the window, the second uses it.
LOOKS = 2
CHUNK = 256


def align(copies: np.ndarray, originals: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of copies with the best window of their originals, float[m], and that window, float[m, 3].

    `copies`: uint8[m, 64, 64], turned like their originals; `originals`: uint8[m, 64, 64]; `windows`: float[m, 3],
    the approximate place of the copy in its original (`views.Window`). A correlation of 1: equal up to brightness and
    contrast; unrelated images of noise give about 0.1.
    """
    parts = [slice(start, start + CHUNK) for start in range(0, len(copies), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy and SciPy release the interpreter's lock
        found = list(pool.map(lambda part: _align(copies[part], originals[part], windows[part]), parts))
    return np.concatenate([score for score, _ in found]), np.concatenate([window for _, window in found])


def _align(copies: np.ndarray, originals: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wanted = spectra(views.window(copies, views.WHOLE, SIDE))
    scores, windows = np.full(len(copies), -1.0), np.array(windows, np.float64)
    alive = np.arange(len(copies))
    for step, least in STEPS:
        centre = windows[alive]
        for change in (-step, step) if step else (0.0,):
            moved = _scaled(centre, change)
            for _ in range(LOOKS):
                score, shift = _correlation(wanted[alive], originals[alive], moved)
                better = score > scores[alive]
                scores[alive[better]], windows[alive[better]] = score[better], moved[better]
                moved = _inside(moved, shift)
        alive = alive[scores[alive] >= least]
        if not len(alive):
            break
    return scores, windows


def spectra(images: np.ndarray) -> np.ndarray:
    """Spectra of float32[n, 32, 32], as complex64[n, 32, 17] of unit length over all 32 x 32; 0 for a blank image."""
    from scipy.fft import rfft2

    edge, counted = _edge(), _counted()
    found = rfft2((images - images.mean(axis=(1, 2), keepdims=True)) * edge)
    found *= counted / (np.abs(found) + np.float32(FLOOR))
    power = (found.real**2 + found.imag**2) @ _TWICE
    length = np.sqrt(power.sum(axis=1))[:, None, None]
    return found / np.where(length > 0, length, 1)


#: Columns of a half spectrum count twice, except the first and the last.
_TWICE = np.array([1, *[2] * (SIDE // 2 - 1), 1], np.float32)


@cache
def _edge() -> np.ndarray:
    """Weights that fade out towards the edges, as the image is not periodic."""
    pixel = np.arange(SIDE) + 0.5
    fading = np.sin(np.pi / 2 * np.clip(np.minimum(pixel, SIDE - pixel) / SIDE / FADES, 0, 1)) ** 2
    return (fading[:, None] * fading).astype(np.float32)


@cache
def _counted() -> np.ndarray:
    """Mask of the half spectrum's frequencies that count."""
    from scipy.fft import fftfreq, rfftfreq

    cycles = np.hypot(fftfreq(SIDE, 1 / SIDE)[:, None], rfftfreq(SIDE, 1 / SIDE))
    return ((cycles > 0) & (cycles <= CYCLES)).astype(np.float32)


def _correlation(wanted: np.ndarray, originals: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest correlation over all shifts, float[m], and the shift, float[m, 2], in shares of the window."""
    from scipy.fft import irfft2

    found = spectra(views.window(originals, windows, SIDE))
    surface = irfft2(found * np.conj(wanted)) * SIDE**2
    flat = surface.reshape(len(surface), SIDE**2)
    place = flat.argmax(axis=1)
    peak = np.stack(np.divmod(place, SIDE), axis=1)
    shift = peak + _between(surface, peak)
    return flat[np.arange(len(flat)), place], (shift + SIDE / 2) % SIDE / SIDE - 0.5


def _between(surface: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Sub-pixel offset of the peak, by a parabola through its neighbours on each axis: -0.5 to 0.5, float[m, 2]."""
    rows = np.arange(len(surface))
    found = []
    for axis in (0, 1):
        step = np.eye(2, dtype=int)[axis]
        low, mid, high = (surface[rows, *((peak + k * step) % SIDE).T] for k in (-1, 0, 1))
        bend = low - 2 * mid + high
        found.append(np.where(bend < 0, (low - high) / (2 * np.where(bend < 0, bend, -1)), 0.0))
    return np.clip(np.stack(found, axis=1), -0.5, 0.5)


def _scaled(windows: np.ndarray, change: float) -> np.ndarray:
    """The windows with another scale and the same centre."""
    scale = np.clip(windows[:, 0] + change, 0.5, 1.0)
    corner = windows[:, 1:] + (windows[:, :1] - scale[:, None]) / 2
    return np.column_stack([scale, np.clip(corner, 0, 1 - scale[:, None])])


def _inside(windows: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The windows, shifted by shares of their side but kept inside the image."""
    corner = windows[:, 1:] + shift * windows[:, :1]
    return np.column_stack([windows[:, 0], np.clip(corner, 0, 1 - windows[:, :1])])
