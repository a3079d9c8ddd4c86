"""What chaos decides, and what a configuration of it may say: no socket, no clock."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ampswarm.ocppj.frames import Malformation, MalformedFrame, decode
from server import chaos
from server.chaos import Chaos, Dice, Fate
from server.chaos_file import read_chaos_file
from server.chaos_schema import MAX_DELAY, BadChaos, parse
from tests.server.chaos_configs import ACTIONS, CONFIGS, DELAYS, IDENTITIES, SHARES

FLEET = [f"CP{number:06d}" for number in range(1, 4001)]
SEEDS = st.integers(0, 2**63 - 1)
KINDS = ("call", "answer", "upgrade", "boot", "ping")


def decide(chaos: Chaos, identity: str, kind: str, action: str) -> object:
    """Return what is decided about one thing that a charge point does."""
    decide: dict[str, Callable[[], object]] = {
        "call": lambda: chaos.fate(identity, action),
        "answer": lambda: chaos.drop(identity),
        "upgrade": lambda: chaos.refusal(identity),
        "boot": lambda: chaos.boot(identity),
        "ping": lambda: chaos.withholds_ping(identity),
    }
    return decide[kind]()


@given(CONFIGS, st.lists(st.tuples(IDENTITIES, st.sampled_from(KINDS), ACTIONS), max_size=30), st.randoms())
def test_what_others_do_changes_nothing(values: dict[str, Any], deeds: list[tuple[str, str, str]], random: Any) -> None:
    """A run can be repeated: to each charge point the same is done, however the messages of others fall between."""
    together = Chaos(parse(values))
    seen: dict[str, list[object]] = defaultdict(list)
    for identity, kind, action in deeds:
        seen[identity].append(decide(together, identity, kind, action))
    for identity, decisions in seen.items():
        alone = Chaos(parse(values))
        assert decisions == [decide(alone, identity, kind, action) for own, kind, action in deeds if own == identity]
    # Nor does it matter how upgrades, boots, PINGs and answers fall between the Calls of one.
    by_kind: dict[tuple[str, str], list[str]] = defaultdict(list)
    for identity, kind, action in deeds:
        by_kind[identity, kind].append(action)
    apart = Chaos(parse(values))
    order = list(by_kind)
    random.shuffle(order)
    for identity, kind in order:
        expected = [
            decision
            for decision, (_, each, _) in zip(seen[identity], [d for d in deeds if d[0] == identity], strict=True)
            if each == kind
        ]
        assert expected == [decide(apart, identity, kind, action) for action in by_kind[identity, kind]]


@given(SEEDS, SHARES)
def test_a_rate_is_kept(seed: int, rate: float) -> None:
    """Of the Calls of one charge point, so many are hit; 0 is none and 1 is all."""
    chaos = Chaos(parse({"seed": seed, "withheld_answers": [{"rate": rate}]}))
    hits = sum(chaos.fate("CP000001", "Heartbeat") is not None for _ in range(500))
    if rate in (0, 1):
        assert 500 * rate == hits
    # Six standard deviations, and one.
    assert abs(hits - 500 * rate) <= 6 * (500 * rate * (1 - rate)) ** 0.5 + 1


@given(SEEDS, SHARES, SHARES)
def test_a_share_is_the_same_charge_points_each_time(seed: int, one: float, other: float) -> None:
    """Who is hit once is hit whenever chaos is on with this seed, and a larger share only adds to a smaller one."""
    low, high = sorted([one, other])
    fleet = FLEET[:200]
    chaos = Chaos(
        parse({"seed": seed, "withheld_pings": [{"share": low}], "refusals": [{"share": high, "status": 403}]})
    )
    silent = [identity for identity in fleet if chaos.withholds_ping(identity)]
    refused = [identity for identity in fleet if chaos.refusal(identity)]
    assert set(silent) <= set(refused)
    again = [identity for identity in reversed(fleet) if chaos.withholds_ping(identity)]
    assert silent == again[::-1]
    assert [identity for identity in fleet if chaos.place(identity) < low] == silent


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_a_share_is_as_large_as_it_says(seed: int) -> None:
    """A tenth of the fleet is a tenth, whatever the identities look like, and another seed means others."""
    dice, other = Dice(seed), Dice(seed ^ 12)
    hit = {identity for identity in FLEET if dice.place(identity) < 0.1}
    assert 300 < len(hit) < 500
    assert 15 < len(hit & {identity for identity in FLEET if other.place(identity) < 0.1}) < 80


def test_of_a_kind_the_first_rule_that_fits_counts() -> None:
    """A tenth is Rejected, the next tenth Pending, as the reference says of two nested shares."""
    rules = [{"share": 0.1, "status": "Rejected"}, {"share": 0.2, "status": "Pending", "interval": 9}]
    chaos = Chaos(parse({"boots": rules}))
    found = [(identity, chaos.boot(identity)) for identity in FLEET]
    statuses = Counter(None if rule is None else rule.status for _, rule in found)
    assert {"Rejected", "Pending", None} == set(statuses)
    assert statuses["Rejected"] == pytest.approx(400, abs=100)
    assert statuses["Pending"] == pytest.approx(400, abs=100)
    assert {"Rejected"} == {rule.status for identity, rule in found if rule and chaos.place(identity) < 0.1}


def test_actions_are_those_of_the_rule() -> None:
    """A rule for MeterValues spares Heartbeats; dice that are thrown for one rule do not decide another."""
    chaos = Chaos(
        parse(
            {
                "delays": [{"actions": ["MeterValues"], "seconds": 3}, {"seconds": 1}],
                "drops": [{"actions": ["Authorize"]}],
            }
        )
    )
    assert chaos.fate("A", "MeterValues") == Fate(delay=3)
    assert chaos.fate("A", "Heartbeat") == Fate(delay=1)
    assert chaos.fate("A", "Authorize") != Fate(delay=1)
    # An answer of a charge point has no action.
    assert chaos.drop("A") is None


def test_different_kinds_have_dice_of_their_own() -> None:
    """Half of the answers withheld and half of them late: a quarter is neither, else chaos is not what was asked."""
    chaos = Chaos(parse({"duplicates": [{"rate": 0.5}], "delays": [{"rate": 0.5, "seconds": 1}]}))
    fates = Counter(chaos.fate("A", "Heartbeat") for _ in range(2000))
    assert {None, Fate(delay=1), Fate(is_doubled=True), Fate(delay=1, is_doubled=True)} == set(fates)
    assert all(400 < count < 600 for count in fates.values())


@given(DELAYS, SEEDS)
def test_a_delay_is_within_its_bounds(seconds: Any, seed: int) -> None:
    """No distribution makes an answer come before its Call, or later than ten minutes."""
    try:
        config = parse({"seed": seed, "delays": [{"seconds": seconds}]})
    except BadChaos:
        assume(False)
    chaos = Chaos(config)
    low, high = (seconds.get("min", 0), seconds.get("max", MAX_DELAY)) if isinstance(seconds, dict) else (seconds,) * 2
    for _ in range(5):
        fate = chaos.fate("A", "Heartbeat")
        delay = 0.0 if fate is None else fate.delay
        assert low <= delay <= high


def test_delays_are_spread_as_the_distribution_says() -> None:
    """An exponential distribution with a mean of two seconds has that mean, and another delay for each Call."""
    chaos = Chaos(parse({"delays": [{"seconds": {"distribution": "exponential", "mean": 2}}]}))
    delays = [fate.delay for _ in range(4000) if (fate := chaos.fate("A", "Heartbeat"))]
    assert fmean(delays) == pytest.approx(2, abs=0.2)
    assert len(set(delays)) == 4000


PAYLOADS = st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.integers(0, 9), max_size=3)


@given(PAYLOADS, st.floats(0, 1, exclude_max=True))
def test_a_malformed_answer_is_text_and_no_json(payload: dict[str, Any], cut: float) -> None:
    """A charge point must survive it, and its WebSocket library must have no reason to close (RFC 6455, 8.1)."""
    answer = orjson.dumps([3, "1", payload])
    (text,) = Fate(cut=cut).spoil(answer)
    assert answer.startswith(text)
    assert text.decode()
    with pytest.raises(MalformedFrame) as caught:
        decode(text)
    assert caught.value.reason is Malformation.NOT_JSON


@given(PAYLOADS)
def test_a_wrong_id_is_all_that_is_wrong(payload: dict[str, Any]) -> None:
    """What goes out is a good CallResult to a Call that nobody sent; twice, when it is doubled as well."""
    chaos = Chaos(parse({"wrong_ids": [{}], "duplicates": [{}]}))
    fates = [chaos.fate("A", "Heartbeat") for _ in range(2)]
    sent = [fate.spoil(orjson.dumps([3, "1", payload])) for fate in fates if fate is not None]
    messages = [orjson.loads(text) for texts in sent for text in texts]
    assert len(messages) == 4
    assert len({message[1] for message in messages}) == 2
    for message in messages:
        assert [3, payload] == [message[0], message[2]]
        assert message[1] != "1"
        decode(orjson.dumps(message))


def test_numbers_are_kept_for_so_many_charge_points_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities that come and go do not fill the memory; the oldest begins again."""
    monkeypatch.setattr(chaos, "MAX_COUNTED", 2)
    dice = Chaos(parse({"duplicates": [{"rate": 0.5}]}))
    first = [dice.fate("A", "Heartbeat") for _ in range(40)]
    for other in "BC":
        dice.fate(other, "Heartbeat")
    assert first == [dice.fate("A", "Heartbeat") for _ in range(40)]
    assert first != [dice.fate("A", "Heartbeat") for _ in range(40)]


# -- configurations -----------------------------------------------------------------------------


@given(CONFIGS)
def test_a_configuration_survives_the_way_to_another_process(values: dict[str, Any]) -> None:
    """All processes of a central system do the same."""
    config = parse(values)
    assert config == parse(json.loads(json.dumps(config.as_dict())))


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"delay": []}, "delay: Extra inputs are not permitted"),
    ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
    ({"seed": "x"}, "seed: Input should be a valid integer"),
    ({"delays": 3}, "delays: Input should be a valid list"),
    (
        {"delays": [{"seconds": 1}, {"seconds": 1, "rate": 2}]},
        "delays[2].rate: Input should be less than or equal to 1",
    ),
    ({"delays": [{"seconds": 1, "share": -0.1}]}, "delays[1].share: Input should be greater than or equal to 0"),
    ({"delays": [{"seconds": 601}]}, "delays[1].seconds: Input should be less than or equal to 600"),
    (
        {"delays": [{"seconds": True}]},
        "delays[1].seconds: must be a number of seconds or a table whose distribution is",
    ),
    ({"delays": [{"seconds": {"distribution": "zipf"}}]}, "delays[1].seconds: must be a number of seconds or a table"),
    (
        {"delays": [{"seconds": {"distribution": "normal", "mean": 1, "sigm": 1}}]},
        "delays[1].seconds.sigm: Extra inputs are not permitted",
    ),
    (
        {"delays": [{"seconds": {"distribution": "uniform", "min": 3, "max": 2}}]},
        "delays[1].seconds: min must not be above max, not 3 and 2",
    ),
    (
        {"delays": [{"seconds": {"distribution": "exponential", "mean": 0.001, "min": 500}}]},
        "delays[1].seconds: hardly anything of it lies between min and max",
    ),
    ({"delays": [{"seconds": 1, "actions": ["Reset"]}]}, "delays[1].actions[1]: a charge point sends no 'Reset', only"),
    ({"delays": [{"seconds": 1, "actions": []}]}, "delays[1].actions: List should have at least 1 item"),
    ({"call_errors": [{"code": "Oops"}]}, "call_errors[1].code: there is no error code 'Oops', only NotImplemented"),
    ({"withheld_answers": [{"handled": 1}]}, "withheld_answers[1].handled: Input should be a valid boolean"),
    (
        {"drops": [{"code": 1006}]},
        "drops[1].code: 1006 cannot be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 can",
    ),
    ({"refusals": [{"status": 402}]}, "refusals[1].status: Input should be 401, 403, 404, 429 or 503"),
    ({"refusals": [{"status": 403, "retry_after": 1}]}, "refusals[1]: retry_after goes with 429 and 503, not with 403"),
    ({"refusals": [{"status": 403, "actions": ["Heartbeat"]}]}, "refusals[1].actions: Extra inputs are not permitted"),
    ({"boots": [{"status": "Maybe"}]}, "boots[1].status: Input should be 'Accepted', 'Pending' or 'Rejected'"),
    (
        {"boots": [{"status": "Pending", "interval": -1}]},
        "boots[1].interval: Input should be greater than or equal to 0",
    ),
    ({"stalls": [{"at": 1, "seconds": 301}]}, "stalls[1].seconds: Input should be less than or equal to 300"),
    ({"stalls": [{"at": 1, "seconds": 5, "every": 5}]}, "stalls[1]: every must be above seconds"),
    ({"stalls": [{"seconds": 5}]}, "stalls[1].at: Field required"),
]


@pytest.mark.parametrize(("values", "said"), MISTAKES, ids=[said.split(":")[0] for _, said in MISTAKES])
def test_a_mistake_is_one_line_with_its_key(values: dict[str, Any], said: str) -> None:
    """Whoever wrote the file finds the place."""
    with pytest.raises(BadChaos) as caught:
        parse(values)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4), st.text())
def test_nonsense_is_a_mistake_and_no_fault(value: Any, key: str) -> None:
    """Whatever stands in a file, the answer is one line, without what a terminal may obey."""
    for values in (value, {key: value}, {"delays": [{"seconds": value}]}, {"stalls": [{"at": value, "seconds": 1}]}):
        try:
            parse(values)
        except BadChaos as bad:
            assert str(bad).isprintable()


def test_the_example_of_the_reference_is_a_chaos_file(tmp_path: Path) -> None:
    """It is there to be copied, and shows each kind of rule."""
    text = (Path(__file__).parents[2] / "docs/reference/chaos.md").read_text()
    file = tmp_path / "chaos.toml"
    file.write_text(text.split("```toml\n")[1].split("```")[0])
    values = read_chaos_file(file).as_dict()
    assert values["seed"] == 7
    assert all(values.values()), values
    # And each key has its place in the text.
    for rules in values.values():
        for rule in rules if isinstance(rules, list) else []:
            assert all(f"`{key}`" in text for key in rule)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[delays]\n", "line 1"),
        (b"\xff", "invalid start byte"),
        (b"seed = " + 5000 * b"9", "cannot be read"),
        (b"x = " + 5000 * b"[", "cannot be read"),
        (b"seed = 1.5\n", "seed: Input should be a valid integer"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    """With the name of the file."""
    file = tmp_path / "chaos.toml"
    file.write_bytes(content)
    with pytest.raises(BadChaos) as caught:
        read_chaos_file(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)
