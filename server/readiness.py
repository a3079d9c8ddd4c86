"""Whether new charge points should be sent here: what `/readyz` says."""

from __future__ import annotations


class Readiness:
    """Conditions that parts of the process set; it is ready while all of them hold.

    What is said here is read by anybody who reaches the port, without a token.
    """

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}

    def fail(self, condition: str, why: str) -> None:
        """A condition does not hold.

        Args:
            condition: such as "store", "bus" or "draining".
            why: one line for a person. No secret, no text of a peer.
        """
        self._failing[condition] = why

    def mend(self, condition: str) -> None:
        """A condition holds again, if it did not."""
        self._failing.pop(condition, None)

    @property
    def ready(self) -> bool:
        """Whether all conditions hold."""
        return not self._failing

    def as_json(self) -> dict[str, object]:
        """Return what `/readyz` answers: whether it is ready, and each condition that does not hold, with why."""
        return {"ready": self.ready, "failing": dict(sorted(self._failing.items()))}
