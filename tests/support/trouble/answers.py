"""How a disturbed command has ended, and what of its answer is the same from run to run."""

import json
from dataclasses import dataclass
from typing import Any

#: What differs between two runs that give the same.
VOLATILE = {"run_id", "seconds", "stages", "report", "figures", "data_docs", "version", "versions", "digest", "note"}
VOLATILE |= {"number", "time", "when", "at", "by", "who", "out", "test_set", "created"}


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int | None
    out: str
    err: str

    @property
    def named(self) -> bool:
        """Whether it failed with an error of one paragraph."""
        told = "Error." in self.err or "Interrupted" in self.err
        return self.code in (1, 2, 3, 130) and told and "Traceback" not in self.err + self.out

    @property
    def essence(self) -> Any:
        """What the answer says, without what differs from run to run."""
        lines = [line for line in self.out.splitlines() if line.startswith("{")]
        return (self.code, _essence(json.loads(lines[-1]))) if lines else (self.code, None)


def _essence(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _essence(value) for key, value in found.items() if key not in VOLATILE}
    if isinstance(found, list):
        return [_essence(each) for each in found]
    return None if isinstance(found, str) and "/" in found else found
