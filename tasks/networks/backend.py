"""The library that Keras computes with: TensorFlow, PyTorch or JAX (https://keras.io/guides/getting_started/).

Keras reads `KERAS_BACKEND` once, when it is imported, so one process has one backend. With all of them, tf.data
reads the images.
"""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from random import Random
from typing import Any

from tasks.runtime.errors import DependencyError

#: Variables that libraries read when they start. TensorFlow, which then only decodes, leaves a GPU's memory to the
#: backend; PyTorch's threads do not spin while they wait, as the cores decode too; GPU operations are deterministic
#: (https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html,
#: https://docs.jax.dev/en/latest/gpu_performance_tips.html).
ENVIRONMENT = {
    "tensorflow": {},
    "torch": {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    },
    "jax": {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_FLAGS": "--xla_gpu_deterministic_ops=true"},
}
NAMES = tuple(ENVIRONMENT)


def use(name: str) -> None:
    """Make `name` the backend of this process and its children; call it before Keras is imported.

    Replaces a `KERAS_BACKEND` set by the user: the recipe states what a result was computed with. Raises
    `DependencyError` where the library is not installed, or Keras runs on another one already.
    """
    if find_spec(name) is None:
        raise DependencyError(f"backend = {name!r} needs the package {name}: pip install 'headstart[{name}]'.")
    keras: Any = sys.modules.get("keras")  # `import tensorflow` alone imports it
    if keras is not None and keras.backend.backend() != name:
        raise DependencyError(
            f"Expected Keras on the recipe's backend {name!r}, found it on {keras.backend.backend()!r} already: "
            "a process has one backend. Run the recipe in a separate process."
        )
    os.environ["KERAS_BACKEND"] = name
    for variable, value in ENVIRONMENT[name].items():
        os.environ.setdefault(variable, value)


def current() -> str:
    """The backend of this process: one of `NAMES`. Imports Keras."""
    import keras

    return keras.backend.backend()


def seed(value: int) -> None:
    """Seed the backend, Keras, NumPy and Python, independently of other threads.

    Keras draws the seeds of weights and dropout from Python's generator, which Prefect's threads use too. Here it gets
    a separate one, which `keras.utils.set_random_seed` does not seed.
    """
    import keras
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(value)
    seed_generator.python_random = Random(value)  # noqa: S311 - no secret


def compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of one array, run as a graph with TensorFlow, which keeps no more of it in memory than it needs."""
    if current() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True)
