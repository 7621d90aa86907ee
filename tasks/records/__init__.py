"""Records."""

from tasks.records.base import *  # noqa: F403
from tasks.records.curves import *  # noqa: F403
