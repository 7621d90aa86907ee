"""Settings."""

from tasks.settings.base import *  # noqa: F403
