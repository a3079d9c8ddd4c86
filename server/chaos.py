"""What chaos does to whom and when: decisions, each from the seed, the charge point and a number alone.

Nothing here knows a socket or a clock. The same seed and the same Calls of a charge point bring the same
decisions, whatever other charge points do meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Generic, Protocol, TypeVar

import orjson

from ampswarm.distribution import Distribution, Fixed
from server.chaos_schema import BootRule, CallErrorRule, ChaosConfig, DropRule, FixedSeconds, RefusalRule, WithheldRule

MAX_COUNTED: Final = 1_000_000
"""Charge points whose messages are counted; beyond it, the counts of the oldest begin again."""


class Dice:
    """Numbers from 0 up to 1, each from the seed and what it is for.

    Args:
        seed: makes all the difference.
    """

    __slots__ = ("_hash",)

    def __init__(self, seed: int) -> None:
        self._hash = blake2b(digest_size=8, key=seed.to_bytes(8, "little"))

    def throw(self, what: str, identity: str, number: int) -> float:
        """Return the number for one decision.

        Args:
            what: it is about.
            identity: of the charge point.
            number: of its message, from 0.
        """
        hashed = self._hash.copy()
        hashed.update(f"{what}\0{number}\0{identity}".encode("utf-8", "surrogatepass"))
        return (int.from_bytes(hashed.digest(), "little") >> 11) / 2**53

    def place(self, identity: str) -> float:
        """Return where in the fleet a charge point stands: a share of 0.1 is all that stand below 0.1."""
        return self.throw("place", identity, 0)


class _Counts:
    """How many messages of a kind each charge point has sent."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def next(self, identity: str) -> int:
        """Return the number of a charge point's message, from 0."""
        number = self._counts.get(identity, 0)
        self._counts[identity] = number + 1
        if len(self._counts) > MAX_COUNTED:
            del self._counts[next(iter(self._counts))]
        return number


class _HasShare(Protocol):
    @property
    def rate(self) -> float: ...

    @property
    def share(self) -> float: ...


RuleT = TypeVar("RuleT", bound=_HasShare)


class _Rules(Generic[RuleT]):
    """The rules of one kind, in order: the first counts that fits and whose dice say so.

    Args:
        kind: their name in the configuration; their dice are their own.
        rules: the rules.
        dice: thrown where a rate is below 1.
    """

    __slots__ = ("_dice", "_rules", "is_sure", "kind", "share")

    def __init__(self, kind: str, rules: Sequence[RuleT], dice: Dice) -> None:
        self.kind = kind
        self._dice = dice
        self._rules = [
            (f"{kind}[{index}]", None if actions is None else frozenset(actions), rule)
            for index, rule in enumerate(rules)
            for actions in (getattr(rule, "actions", None),)
            if rule.rate > 0 and rule.share > 0
        ]
        self.share = max((rule.share for _, _, rule in self._rules), default=0.0)
        """Who stands at or above it is spared."""
        self.is_sure = all(rule.rate == 1 for _, _, rule in self._rules)
        """Whether nothing depends on dice."""

    def __bool__(self) -> bool:
        return bool(self._rules)

    def find(self, identity: str, place: float, number: int, action: str | None = None) -> RuleT | None:
        """Return the rule that counts; `None` when none does.

        Args:
            identity: of the charge point.
            place: where it stands in the fleet.
            number: of its message.
            action: of its message; `None` for one that has none, or where rules have none.
        """
        if place >= self.share:
            return None
        for name, actions, rule in self._rules:
            if (
                place < rule.share
                and (actions is None or action in actions)
                and (rule.rate == 1 or self._dice.throw(name, identity, number) < rule.rate)
            ):
                return rule
        return None


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one Call and of its answer."""

    drop: DropRule | None = None
    """The connection ends; nothing else happens."""
    error: CallErrorRule | None = None
    """It is not handled; this is the answer."""
    withheld: WithheldRule | None = None
    """No answer goes out."""
    wrong_id: str | None = None
    """The answer goes out under this message id."""
    cut: float | None = None
    """Where the answer is cut off, from 0 for its beginning up to 1 for its end."""
    is_doubled: bool = False
    """The answer goes out twice."""
    delay: float = 0.0
    """Seconds for which the answer waits."""

    def spoil(self, answer: bytes) -> list[bytes]:
        """Return what goes out instead of an answer."""
        if self.withheld is not None:
            return []
        if self.wrong_id is not None:
            message = orjson.loads(answer)
            message[1] = self.wrong_id
            answer = orjson.dumps(message)
        if self.cut is not None:
            # No beginning of a JSON array is JSON, and no character is cut in two: the text stays a text.
            kept = 1 + int(self.cut * (len(answer) - 1))
            answer = answer[:kept].decode("utf-8", "ignore").encode()
        return [answer, answer] if self.is_doubled else [answer]


class Chaos:
    """The decisions of one configuration.

    Args:
        config: what is to be done.
    """

    def __init__(self, config: ChaosConfig) -> None:
        self.config = config
        self._dice = dice = Dice(config.seed)
        self._drops = _Rules("drops", config.drops, dice)
        self._errors = _Rules("call_errors", config.call_errors, dice)
        self._withheld = _Rules("withheld_answers", config.withheld_answers, dice)
        self._wrong_ids = _Rules("wrong_ids", config.wrong_ids, dice)
        self._duplicates = _Rules("duplicates", config.duplicates, dice)
        self._malformed = _Rules("malformed", config.malformed, dice)
        self._delays = _Rules("delays", config.delays, dice)
        self._refusals: _Rules[RefusalRule] = _Rules("refusals", config.refusals, dice)
        self._boots: _Rules[BootRule] = _Rules("boots", config.boots, dice)
        self._pings = _Rules("withheld_pings", config.withheld_pings, dice)
        self._distributions: dict[int, Distribution] = {
            id(rule): Fixed(rule.seconds) if isinstance(rule.seconds, float | int) else rule.seconds.as_distribution()
            for rule in config.delays
        }
        of_calls = (
            *(self._drops, self._errors, self._withheld, self._wrong_ids, self._duplicates, self._malformed),
            self._delays,
        )
        self._share = max(rules.share for rules in of_calls)
        self._needs_numbers = (
            not all(rules.is_sure for rules in of_calls)
            or bool(self._wrong_ids or self._malformed)
            or any(not isinstance(rule.seconds, float | int | FixedSeconds) for rule in config.delays)
        )
        # Of kinds that do not follow from each other, each has numbers of its own.
        self._calls = _Counts()
        self._answers = _Counts()
        self._upgrades = _Counts()
        self._booted = _Counts()
        self._pinged = _Counts()

    def place(self, identity: str) -> float:
        """Return where in the fleet a charge point stands; see `Dice`."""
        return self._dice.place(identity)

    def fate(self, identity: str, action: str) -> Fate | None:
        """Return what becomes of a Call of a charge point; `None` when nothing out of the ordinary does."""
        if not self._share or (place := self.place(identity)) >= self._share:
            return None
        number = self._calls.next(identity) if self._needs_numbers else 0
        what = identity, place, number, action
        drop = self._drops.find(*what)
        if drop is not None:
            return Fate(drop=drop)
        dice = self._dice
        delay = self._delays.find(*what)
        fate = Fate(
            error=self._errors.find(*what),
            withheld=self._withheld.find(*what),
            wrong_id=None if self._wrong_ids.find(*what) is None else self._id(identity, number),
            cut=None if self._malformed.find(*what) is None else dice.throw("cut", identity, number),
            is_doubled=self._duplicates.find(*what) is not None,
            delay=0.0 if delay is None else self._distributions[id(delay)].at(dice.throw("delay", identity, number)),
        )
        return None if fate == _NOTHING else fate

    def drop(self, identity: str) -> DropRule | None:
        """Return whether a connection ends because an answer of the charge point has come."""
        return self._draw(self._drops, self._answers, identity)

    def refusal(self, identity: str) -> tuple[int, int | None] | None:
        """Return the HTTP status, and the seconds of Retry-After, of an upgrade; `None` lets it be."""
        rule = self._draw(self._refusals, self._upgrades, identity)
        return None if rule is None else (rule.status, rule.retry_after)

    def boot(self, identity: str) -> BootRule | None:
        """Return what a BootNotification is answered; `None` leaves it to the boot policy."""
        return self._draw(self._boots, self._booted, identity)

    def withholds_ping(self, identity: str) -> bool:
        """Return whether a PING does not go out."""
        return self._draw(self._pings, self._pinged, identity) is not None

    def _id(self, identity: str, number: int) -> str:
        return f"chaos-{int(self._dice.throw('id', identity, number) * 2**53):014x}"

    def _draw(self, rules: _Rules[RuleT], counts: _Counts, identity: str) -> RuleT | None:
        if not rules or (place := self.place(identity)) >= rules.share:
            return None
        return rules.find(identity, place, 0 if rules.is_sure else counts.next(identity))


_NOTHING: Final = Fate()
