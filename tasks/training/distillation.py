"""Distillation: one network learns what a dearer one answers. Hinton et al. 2015, https://arxiv.org/abs/1503.02531.

What the dearer one answers for photos without labels teaches as well: Xie et al. 2020, Noisy Student,
https://arxiv.org/abs/1911.04252, here without noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets
from tasks.features import inference
from tasks.features.batches import pixel_batches
from tasks.training import fit
from tasks.training.fine_tuning import TrainablePart

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from tasks.records import ImagesRef

#: The label's share in what a labelled photo is trained towards; the rest is the teacher's answer.
HARD = 0.5


def towards(part: TrainablePart, teacher: keras.Model, images: ImagesRef, rows: pd.DataFrame) -> TrainablePart:
    """The part, trained towards the teacher's answers for its rows.

    `rows`: the photos in the order of the part's rows, each as often as it has views; without a label where the teacher
    alone says what they show.
    """
    views = part.views
    labels = rows["label"].map({name: at for at, name in enumerate(images.dataset.classes)})
    known = np.repeat(labels.notna().to_numpy(), len(views))
    said = fit.predict(teacher, pixel_batches(images, rows, np.zeros(len(rows), np.int64), views), inference.BATCH)
    targets = said.astype(np.float32)
    own = np.eye(said.shape[1], dtype=np.float32)[np.repeat(labels.fillna(0).to_numpy(np.int64), len(views))]
    targets[known] = HARD * own[known] + (1 - HARD) * targets[known]
    return replace(part, train=replace(part.train, labels=targets))


def unlabelled(images: ImagesRef, facts: pd.DataFrame) -> pd.DataFrame:
    """The readable photos of a table of facts that are not in the data set, prepared, as rows to train on."""
    there = set(datasets.rows(images.dataset)["key"])
    rows = facts[facts["error"].isna() & ~facts["key"].isin(there)].drop_duplicates("key")
    rows = rows.assign(split="train", label=None).sort_values("key").reset_index(drop=True)
    if images.kept and len(rows):
        datasets.prepare(images, rows)
    return rows
