"""Actions that a person has added to a checkpoint of Great Expectations, such as a message to a channel."""

from collections.abc import Iterable
from typing import Any

from tasks.runtime.errors import brief, without_secrets


def run(context: Any, actions: Iterable[Any], result: Any) -> dict[str, str]:
    """Run all actions with the result of a checkpoint; what went wrong, by the action's name."""
    from great_expectations.checkpoint.actions import ActionContext

    done, failed = ActionContext(), {}
    for action in actions:
        action._data_context = context  # as Checkpoint.run does, which would end at the first failure
        try:
            done.update(action=action, action_result=action.run(checkpoint_result=result, action_context=done))
        except Exception as error:  # an action is a person's own code
            failed[action.name] = f"{type(error).__name__}: {without_secrets(brief(error))}"
    return failed
