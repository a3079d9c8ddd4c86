"""What can be asked of chaos: the same keys, bounds and words for the file, the operator API and other processes."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from ampswarm.distribution import Distribution, Exponential, Fixed, LogNormal, Normal, Uniform
from ampswarm.ocppj.errors import ErrorCode
from ampswarm.ocppj.schemas import CHARGE_POINT_ACTIONS

MAX_DELAY: Final = 600.0
"""Seconds; the longest time that an answer is late."""
MAX_STALL: Final = 300.0
"""Seconds; the longest time for which everything stands still."""
MAX_RULES: Final = 100
"""Rules of each kind."""
_MAX_SECONDS: Final = 2**31 - 1
_DISTRIBUTIONS: Final = ("fixed", "uniform", "normal", "lognormal", "exponential")
_MOST_SIGMA: Final = 10.0
"""Of a lognormal distribution: more would overflow, and means nothing."""


class BadChaos(ValueError):  # noqa: N818  the sentence reads better
    """A configuration that cannot be used; one line with the key."""


def _action(text: str) -> str:
    if text not in CHARGE_POINT_ACTIONS:
        raise ValueError(f"a charge point sends no {text[:60]!r}, only {', '.join(sorted(CHARGE_POINT_ACTIONS))}")
    return text


def _code(text: str) -> str:
    if text not in set(ErrorCode):
        raise ValueError(f"there is no error code {text[:60]!r}, only {', '.join(ErrorCode)}")
    return text


def _close_code(code: int) -> int:
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(f"{code} cannot be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 can (RFC 6455, 7.4)")
    return code


def _whole(value: object) -> object:
    # In JSON, 60.0 is an integer like 60.
    return int(value) if type(value) is float and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Action = Annotated[str, AfterValidator(_action), WithJsonSchema({"enum": sorted(CHARGE_POINT_ACTIONS)})]
Code = Annotated[str, AfterValidator(_code), WithJsonSchema({"enum": list(ErrorCode)})]
CloseCode = Annotated[Whole, AfterValidator(_close_code), Field(json_schema_extra={"minimum": 1000, "maximum": 4999})]
Seconds = Annotated[float, Field(ge=0, le=MAX_DELAY, allow_inf_nan=False)]
Centre = Annotated[float, Field(gt=0, le=MAX_DELAY, allow_inf_nan=False)]
StallSeconds = Annotated[float, Field(gt=0, le=MAX_STALL, allow_inf_nan=False)]


class Model(BaseModel):
    """A table, every key of which is known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Bounded(Model):
    """A distribution of seconds, cut off at both ends."""

    min: Seconds = 0.0
    """Seconds; nothing below it is drawn."""
    max: Seconds = MAX_DELAY
    """Seconds; nothing above it is drawn."""

    def as_distribution(self) -> Distribution:
        """Return what draws from it."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _check(self) -> Bounded:
        self.as_distribution()
        return self


class FixedSeconds(Model):
    """Always the same."""

    distribution: Literal["fixed"]
    value: Seconds
    """Seconds."""

    def as_distribution(self) -> Distribution:
        """Return what draws from it."""
        return Fixed(self.value)


class UniformSeconds(Bounded):
    """Anything between two bounds."""

    distribution: Literal["uniform"]
    max: Seconds
    """Seconds; nothing above it is drawn."""

    def as_distribution(self) -> Distribution:
        """Return what draws from it."""
        return Uniform(self.min, self.max)


class NormalSeconds(Bounded):
    """A normal distribution."""

    distribution: Literal["normal"]
    mean: Seconds
    """Seconds, of the whole distribution."""
    sigma: Centre
    """Seconds; its standard deviation."""

    def as_distribution(self) -> Distribution:
        """Return what draws from it."""
        return Normal(self.mean, self.sigma, self.min, self.max)


class LogNormalSeconds(Bounded):
    """A lognormal distribution."""

    distribution: Literal["lognormal"]
    median: Centre
    """Seconds, of the whole distribution."""
    sigma: float = Field(gt=0, le=_MOST_SIGMA, allow_inf_nan=False)
    """The standard deviation of the natural logarithm."""

    def as_distribution(self) -> Distribution:
        """Return what draws from it."""
        return LogNormal(self.median, self.sigma, self.min, self.max)


class ExponentialSeconds(Bounded):
    """An exponential distribution."""

    distribution: Literal["exponential"]
    mean: Centre
    """Seconds, of the whole distribution."""

    def as_distribution(self) -> Distribution:
        """Return what draws from it."""
        return Exponential(self.mean, self.min, self.max)


def _kind(value: object) -> str | None:
    if type(value) in (int, float):
        return "number"
    kind = value.get("distribution") if isinstance(value, dict) else getattr(value, "distribution", None)
    return kind if kind in _DISTRIBUTIONS else None


Delay = Annotated[
    Annotated[Seconds, Tag("number")]
    | Annotated[FixedSeconds, Tag("fixed")]
    | Annotated[UniformSeconds, Tag("uniform")]
    | Annotated[NormalSeconds, Tag("normal")]
    | Annotated[LogNormalSeconds, Tag("lognormal")]
    | Annotated[ExponentialSeconds, Tag("exponential")],
    Discriminator(
        _kind,
        custom_error_type="delay",
        custom_error_message=f"must be a number of seconds or a table whose distribution is one of: "
        f"{', '.join(_DISTRIBUTIONS)}",
    ),
]


class Rule(Model):
    """What is done to some charge points, now and then."""

    rate: Share = 1.0
    """How often, of all times at which it could be."""
    share: Share = 1.0
    """Of the fleet; always the same charge points for the same seed."""


class CallRule(Rule):
    """What is done about Calls of charge points."""

    actions: Annotated[list[Action], Field(min_length=1, max_length=len(CHARGE_POINT_ACTIONS))] | None = None
    """Which; without it, all."""


class DelayRule(CallRule):
    """The answer goes out late."""

    seconds: Delay
    """How late: a number, or a distribution."""


class CallErrorRule(CallRule):
    """A CallError is the answer; the Call is not handled, and nothing is recorded of it."""

    code: Code
    """Of table 7 (J 4.2.3)."""
    description: str = Field("chaos", max_length=255)
    """Goes with it."""


class WithheldRule(CallRule):
    """No answer goes out."""

    handled: bool = True
    """Whether the Call is handled all the same, so that what it told is recorded."""


class AnswerRule(CallRule):
    """The answer goes out wrong."""


class DropRule(CallRule):
    """The connection ends when a message comes, which is not handled."""

    code: CloseCode | None = None
    """Close code; without it, the connection is cut off without a Close frame."""


class RefusalRule(Rule):
    """An upgrade is refused."""

    status: Annotated[Literal[401, 403, 404, 429, 503], BeforeValidator(_whole)]
    """Of HTTP."""
    retry_after: Annotated[Whole, Field(ge=0, le=_MAX_SECONDS)] | None = None
    """Seconds, in the header Retry-After; for 429 and 503 only."""

    @model_validator(mode="after")
    def _check(self) -> RefusalRule:
        if self.retry_after is not None and self.status not in (429, 503):
            raise ValueError(f"retry_after goes with 429 and 503, not with {self.status}")
        return self


class BootRule(Rule):
    """What BootNotification is answered (core 4.2)."""

    status: Literal["Accepted", "Pending", "Rejected"]
    """A RegistrationStatus (core 7.38)."""
    interval: Annotated[Whole, Field(ge=0, le=_MAX_SECONDS)] | None = None
    """Seconds; without it, that of the ordinary boot policy."""


class PingRule(Rule):
    """A PING does not go out."""


class StallRule(Model):
    """Everything stands still, as in a very long garbage collection."""

    at: float = Field(ge=0, le=_MAX_SECONDS, allow_inf_nan=False)
    """Seconds after the start, or after the configuration was set."""
    seconds: StallSeconds
    """How long."""
    every: float | None = Field(None, gt=0, le=_MAX_SECONDS, allow_inf_nan=False)
    """Seconds from the beginning of one to the beginning of the next; without it, there is only one."""

    @model_validator(mode="after")
    def _check(self) -> StallRule:
        if self.every is not None and self.every <= self.seconds:
            raise ValueError("every must be above seconds: nothing would ever be done in between")
        return self


class ChaosConfig(Model):
    """All that is done. Of several rules of one kind, the first counts that fits and whose dice say so."""

    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 0
    """The same seed and the same messages of a charge point: the same is done to it."""
    delays: list[DelayRule] = Field([], max_length=MAX_RULES)
    call_errors: list[CallErrorRule] = Field([], max_length=MAX_RULES)
    withheld_answers: list[WithheldRule] = Field([], max_length=MAX_RULES)
    wrong_ids: list[AnswerRule] = Field([], max_length=MAX_RULES)
    """Answers that go out under another message id (against J 4.2.2)."""
    duplicates: list[AnswerRule] = Field([], max_length=MAX_RULES)
    """Answers that go out twice."""
    malformed: list[AnswerRule] = Field([], max_length=MAX_RULES)
    """Answers that are cut off in the middle, so that they are no JSON."""
    drops: list[DropRule] = Field([], max_length=MAX_RULES)
    refusals: list[RefusalRule] = Field([], max_length=MAX_RULES)
    boots: list[BootRule] = Field([], max_length=MAX_RULES)
    withheld_pings: list[PingRule] = Field([], max_length=MAX_RULES)
    stalls: list[StallRule] = Field([], max_length=MAX_RULES)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; `parse` makes it of that again."""
        return self.model_dump(mode="json")


def parse(values: object) -> ChaosConfig:
    """Return the configuration that `values` say, as TOML or JSON has them.

    Raises:
        BadChaos: they cannot be used; one line with the key. Rules count from 1.
    """
    try:
        return ChaosConfig.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        # A key that is misspelled is missing as well, and that is not the mistake.
        first = min(found, key=lambda each: each["type"] != "extra_forbidden")
        raise BadChaos(_line(first["loc"], first["msg"])) from None


def _line(place: tuple[int | str, ...], what: str) -> str:
    path = ""
    for before, part in zip((None, *place), place, strict=False):
        if isinstance(part, int):
            path += f"[{part + 1}]"
        elif before != "seconds" or part not in {"number", *_DISTRIBUTIONS}:
            # Else it names the kind of a delay, which is no key.
            path += f".{part}" if path else part
    what = what.removeprefix("Value error, ")
    # A key may be anything, and this is one line.
    return "".join(char if char.isprintable() else "?" for char in (f"{path}: {what}" if path else what))
