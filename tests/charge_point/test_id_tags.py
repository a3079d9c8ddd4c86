"""Who may charge: what the local list and the cache hold, and what is decided with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ampswarm.charge_point.configuration import Configuration, Defaults, Make
from ampswarm.charge_point.id_tags import (
    AuthorizationCache,
    AuthorizationStatus,
    IdTagInfo,
    LocalList,
    Verdict,
    decide,
    remember,
    same_id_tag,
)
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import Direction, validate

NOON = 1_750_000_000.0
"""Some instant, in seconds since 1970."""
NOON_TEXT = "2025-06-15T15:06:40Z"
VALID = IdTagInfo("Accepted")
BLOCKED = IdTagInfo("Blocked")


def configured(**settings: str) -> Configuration:
    return Configuration(Defaults(Make(), settings))


class TestIdTagInfo:
    """IdTagInfo (core 7.27)."""

    def test_from_the_wire(self) -> None:
        """All that a central system says of an identifier."""
        payload = {"status": "Accepted", "expiryDate": NOON_TEXT, "parentIdTag": "FAMILY"}

        assert IdTagInfo.from_payload(payload) == IdTagInfo("Accepted", NOON, "FAMILY")
        assert IdTagInfo.from_payload({"status": "Invalid"}) == IdTagInfo("Invalid", None, None)

    def test_a_date_that_cannot_be(self) -> None:
        """The schemas let any text pass as a date: it must be a ValueError, not a crash later on."""
        with pytest.raises(ValueError, match="^not an ISO 8601 date and time: 'tomorrow'$"):
            IdTagInfo.from_payload({"status": "Accepted", "expiryDate": "tomorrow"})

    def test_equal_ones_are_shared(self) -> None:
        """A fleet of 50,000 with lists of 100 identifiers each holds few objects."""
        payload = {"status": "Accepted", "expiryDate": NOON_TEXT, "parentIdTag": "FAMILY"}

        assert IdTagInfo.from_payload(dict(payload)) is IdTagInfo.from_payload(dict(payload))

    @pytest.mark.parametrize(
        ("status", "expires", "at_noon"),
        [
            ("Accepted", None, "Accepted"),
            ("Accepted", NOON + 1, "Accepted"),
            ("Accepted", NOON, "Expired"),
            ("Accepted", NOON - 1, "Expired"),
            ("Blocked", None, "Blocked"),
            ("Blocked", NOON + 1, "Blocked"),
            ("Blocked", NOON - 1, "Expired"),
            ("Invalid", None, "Invalid"),
            ("Expired", None, "Expired"),
            ("Expired", NOON + 1, "Expired"),
            ("Expired", NOON - 1, "Expired"),
            ("ConcurrentTx", None, "ConcurrentTx"),
        ],
    )
    def test_validity(self, status: str, expires: float | None, at_noon: str) -> None:
        """A status ends with its expiryDate; only Accepted may charge (core 3.5.1, 3.5.4, 7.27)."""
        info = IdTagInfo(status, expires, "FAMILY")

        assert info.at(NOON) == IdTagInfo(at_noon, expires, "FAMILY")
        assert info.is_valid(NOON) is (at_noon == "Accepted")


def test_case_does_not_count() -> None:
    """An IdToken is case insensitive (core 7.28)."""
    assert same_id_tag("04a3bcD2", "04A3BCd2")
    assert not same_id_tag("04A3BCD2", "04A3BCD")


def update(version: int, kind: str, *entries: tuple[str, str | None]) -> Payload:
    """A SendLocalList.req; `None` for an entry without idTagInfo."""
    payload: Payload = {"listVersion": version, "updateType": kind}
    if entries:
        payload["localAuthorizationList"] = [
            {"idTag": id_tag} if status is None else {"idTag": id_tag, "idTagInfo": {"status": status}}
            for id_tag, status in entries
        ]
    validate("SendLocalList", Direction.REQ, payload)
    return payload


def send(local_list: LocalList, payload: Payload, *, max_length: int = 5, max_update: int = 4) -> str:
    """Answer a SendLocalList.req; the answer keeps to its schema."""
    status = local_list.update(payload, max_length=max_length, max_update=max_update)
    validate("SendLocalList", Direction.CONF, {"status": status.value})
    return status.value


class TestLocalList:
    """SendLocalList (core 5.15, 6.41) and GetLocalListVersion (core 5.10)."""

    @pytest.fixture
    def local_list(self) -> LocalList:
        """Version 7: A may charge, B may not."""
        local_list = LocalList()
        assert send(local_list, update(7, "Full", ("A", "Accepted"), ("B", "Blocked"))) == "Accepted"
        return local_list

    def assert_untouched(self, local_list: LocalList) -> None:
        assert (local_list.version, len(local_list)) == (7, 2)
        assert (local_list.get("A"), local_list.get("B")) == (VALID, BLOCKED)

    def test_a_new_list_is_empty(self) -> None:
        """An empty list has version 0 (core 5.10)."""
        assert (LocalList().version, len(LocalList()), LocalList().get("A")) == (0, 0, None)

    def test_full_replaces(self, local_list: LocalList) -> None:
        """Full: what was there before is gone, and the version may be any other (core 6.41)."""
        assert send(local_list, update(3, "Full", ("b", "Accepted"), ("C", "Invalid"))) == "Accepted"

        assert (local_list.version, len(local_list)) == (3, 2)
        assert local_list.get("A") is None
        assert (local_list.get("B"), local_list.get("c")) == (VALID, IdTagInfo("Invalid"))

    def test_differential_adds_changes_and_deletes(self, local_list: LocalList) -> None:
        """With an idTagInfo it is added or changed, without one deleted (core 7.1)."""
        assert (
            send(local_list, update(8, "Differential", ("a", None), ("b", "Accepted"), ("C", "Expired"))) == "Accepted"
        )

        assert (local_list.version, len(local_list)) == (8, 2)
        assert local_list.get("A") is None
        assert (local_list.get("B"), local_list.get("C")) == (VALID, IdTagInfo("Expired"))

    def test_deleting_what_is_not_there(self, local_list: LocalList) -> None:
        """The wish is fulfilled already."""
        assert send(local_list, update(9, "Differential", ("X", None))) == "Accepted"
        assert (local_list.version, len(local_list)) == (9, 2)

    @pytest.mark.parametrize("version", [1, 6, 7])
    def test_an_old_difference(self, local_list: LocalList, version: int) -> None:
        """A differential version that is not above the present one is a VersionMismatch (core 7.47)."""
        assert send(local_list, update(version, "Differential", ("A", "Blocked"))) == "VersionMismatch"
        self.assert_untouched(local_list)

    def test_versions_may_be_left_out(self, local_list: LocalList) -> None:
        """Above is enough: nothing says by one."""
        assert send(local_list, update(4711, "Differential", ("C", "Accepted"))) == "Accepted"
        assert local_list.version == 4711

    @pytest.mark.parametrize("kind", ["Full", "Differential"])
    @pytest.mark.parametrize("version", [0, -1, -5])
    def test_versions_with_another_meaning(self, local_list: LocalList, version: int, kind: str) -> None:
        """0 and -1 are no versions of a list (core errata 3.52)."""
        assert send(local_list, update(version, kind, ("A", "Blocked"))) == "Failed"
        self.assert_untouched(local_list)

    def test_full_without_entries_empties(self, local_list: LocalList) -> None:
        """No localAuthorizationList with Full removes all (core 6.41); the list is empty, so its version is 0."""
        assert send(local_list, update(8, "Full")) == "Accepted"
        assert (local_list.version, len(local_list)) == (0, 0)
        assert send(local_list, update(1, "Differential", ("A", "Accepted"))) == "Accepted"
        assert local_list.version == 1

    def test_an_empty_array_is_as_good_as_none(self, local_list: LocalList) -> None:
        """Both are the "no (empty) localAuthorizationList" of core 6.41."""
        assert send(local_list, {**update(8, "Full"), "localAuthorizationList": []}) == "Accepted"
        assert (local_list.version, len(local_list)) == (0, 0)

    def test_deleting_the_last_one(self, local_list: LocalList) -> None:
        """Version 0 says that a list is empty, however it became so (core 5.10)."""
        assert send(local_list, update(8, "Differential", ("A", None), ("B", None))) == "Accepted"
        assert (local_list.version, len(local_list)) == (0, 0)

    def test_an_empty_difference(self, local_list: LocalList) -> None:
        """It has no effect on the list (core 6.41), but the list has the new version then (core 5.15)."""
        assert send(local_list, update(8, "Differential")) == "Accepted"
        assert (local_list.version, local_list.get("A"), local_list.get("B")) == (8, VALID, BLOCKED)

    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(update(8, "Full", ("C", "Accepted"), ("c", "Blocked")), id="twice in full"),
            pytest.param(update(8, "Differential", ("C", "Accepted"), ("c", None)), id="twice in differential"),
            pytest.param(update(8, "Full", ("C", "Accepted"), ("D", None)), id="no idTagInfo in full"),
            pytest.param(update(8, "Full", *((tag, "Accepted") for tag in "CDEFG")), id="too many at once"),
            pytest.param(update(8, "Differential", *((tag, None) for tag in "CDEFG")), id="too many deleted at once"),
            pytest.param(update(8, "Differential", *((tag, "Accepted") for tag in "CDEF")), id="too many in all"),
            pytest.param(
                {
                    **update(8, "Differential"),
                    "localAuthorizationList": [
                        {"idTag": "A"},
                        {"idTag": "C", "idTagInfo": {"status": "Accepted", "expiryDate": "soon"}},
                    ],
                },
                id="no date",
            ),
        ],
    )
    def test_failed_changes_nothing(self, local_list: LocalList, payload: Payload) -> None:
        """An identifier twice, one without status, too many, no date: Failed, and all stays (core 6.41, 7.1, 9.2)."""
        assert send(local_list, payload) == "Failed"
        self.assert_untouched(local_list)

    def test_full_to_the_brim(self, local_list: LocalList) -> None:
        """As many as LocalAuthListMaxLength says, and one may go when another comes (core 9.2.2)."""
        assert send(local_list, update(8, "Differential", *((tag, "Accepted") for tag in "CDE"))) == "Accepted"
        assert send(local_list, update(9, "Differential", ("F", "Accepted"))) == "Failed"
        assert send(local_list, update(9, "Differential", ("F", "Accepted"), ("A", None))) == "Accepted"
        assert len(local_list) == 5

    def test_full_is_not_limited_by_what_it_replaces(self, local_list: LocalList) -> None:
        """The old identifiers make room for the new ones."""
        assert send(local_list, update(8, "Full", *((tag, "Accepted") for tag in "CDEF")), max_length=4) == "Accepted"

    def test_all_that_is_said_is_kept(self) -> None:
        """An expiryDate and a parentIdTag arrive (core 7.27)."""
        local_list = LocalList()
        info = {"status": "Accepted", "expiryDate": NOON_TEXT, "parentIdTag": "FAMILY"}
        payload = {**update(1, "Full"), "localAuthorizationList": [{"idTag": "A", "idTagInfo": info}]}

        assert send(local_list, payload) == "Accepted"
        assert local_list.get("a") == IdTagInfo("Accepted", NOON, "FAMILY")

    @pytest.mark.parametrize(
        ("id_tag", "said", "is_conflict"),
        [
            ("A", "Accepted", False),
            ("A", "Blocked", True),
            ("A", "Invalid", True),
            ("A", "ConcurrentTx", False),
            ("B", "Blocked", False),
            ("B", "Invalid", False),
            ("B", "Accepted", True),
            ("X", "Accepted", False),
            ("X", "Invalid", False),
        ],
    )
    def test_conflicts(self, local_list: LocalList, id_tag: str, said: str, is_conflict: bool) -> None:
        """The central system says otherwise than its list: LocalListConflict (core 3.5.2)."""
        assert local_list.conflicts(id_tag.lower(), IdTagInfo(said), NOON) is is_conflict


tags = st.sampled_from(["A", "a", "B", "b", "C", "D", "E", "tag", "Tag"])
statuses = st.one_of(st.none(), st.sampled_from(sorted(AuthorizationStatus)))
updates = st.builds(
    lambda version, kind, entries: update(version, kind, *entries),
    st.integers(min_value=-1, max_value=12),
    st.sampled_from(["Full", "Differential", "Differential"]),
    st.lists(st.tuples(tags, statuses), max_size=5),
)


def reasons(payload: Payload, version: int, present: set[str]) -> set[str]:
    """All reasons to refuse an update, read off the standard one by one."""
    named = [entry["idTag"].upper() for entry in payload.get("localAuthorizationList", [])]
    given = [entry["idTag"].upper() for entry in payload.get("localAuthorizationList", []) if "idTagInfo" in entry]
    is_full = payload["updateType"] == "Full"
    left = set(given) if is_full else (present - set(named)) | set(given)
    found = {
        "Failed": [
            payload["listVersion"] in {0, -1},
            any(named.count(tag) > 1 for tag in named),
            is_full and named != given,
            len(named) > 4,
            len(left) > 3,
        ],
        "VersionMismatch": [not is_full and payload["listVersion"] <= version],
    }
    return {status for status, conditions in found.items() if any(conditions)}


@given(st.lists(updates, max_size=12))
def test_the_list_is_what_the_updates_make_it(payloads: list[Payload]) -> None:
    """After any number of updates, list and version are those that the central system computes for itself."""
    local_list = LocalList()
    version = 0
    known: dict[str, str] = {}

    for payload in payloads:
        refusals = reasons(payload, version, set(known))
        status = send(local_list, payload, max_length=3, max_update=4)

        assert status in (refusals or {"Accepted"})
        if not refusals:
            if payload["updateType"] == "Full":
                known.clear()
            for entry in payload.get("localAuthorizationList", []):
                known.pop(entry["idTag"].upper(), None)
                if "idTagInfo" in entry:
                    known[entry["idTag"].upper()] = entry["idTagInfo"]["status"]
            version = payload["listVersion"] if known else 0
        assert (version, len(known)) == (local_list.version, len(local_list))
        for tag in ("A", "B", "C", "D", "E", "TAG"):
            for spelling in (tag, tag.lower()):
                info = local_list.get(spelling)
                assert known.get(tag) == (None if info is None else info.status)


class TestCache:
    """The authorization cache (core 3.5.1)."""

    def test_what_was_heard_is_known(self) -> None:
        """Valid and not valid ones are kept, whatever their case; the last word counts."""
        cache = AuthorizationCache(3)
        cache.learn("Tag", VALID, NOON)
        cache.learn("other", BLOCKED, NOON)
        cache.learn("TAG", IdTagInfo("Invalid", None, "FAMILY"), NOON)

        assert cache.get("tag", NOON) == IdTagInfo("Invalid", None, "FAMILY")
        assert cache.get("OTHER", NOON) == BLOCKED
        assert (cache.get("unknown", NOON), len(cache)) == (None, 2)

    def test_an_entry_expires(self) -> None:
        """It is changed to Expired in the cache, and stays so even if the clock is set back (core 3.5.1)."""
        cache = AuthorizationCache(3)
        cache.learn("A", IdTagInfo("Accepted", NOON, "FAMILY"), NOON - 60)

        assert cache.get("A", NOON - 1) == IdTagInfo("Accepted", NOON, "FAMILY")
        assert cache.get("A", NOON) == IdTagInfo("Expired", NOON, "FAMILY")
        assert cache.get("A", NOON - 1) == IdTagInfo("Expired", NOON, "FAMILY")

    def test_the_oldest_goes_when_all_are_valid(self) -> None:
        """Who charged again is not the oldest (core 3.5.1)."""
        cache = AuthorizationCache(3)
        for tag in ("A", "B", "C", "a", "D"):
            cache.learn(tag, VALID, NOON)

        assert [tag for tag in "ABCD" if cache.get(tag, NOON)] == ["A", "C", "D"]

    def test_those_that_are_not_valid_go_first(self) -> None:
        """All of them, also those whose time has run out, and before any valid one (core 3.5.1)."""
        cache = AuthorizationCache(4)
        cache.learn("A", VALID, NOON)
        cache.learn("B", BLOCKED, NOON)
        cache.learn("C", IdTagInfo("Accepted", NOON + 10), NOON)
        cache.learn("D", VALID, NOON)
        cache.learn("E", VALID, NOON + 10)

        assert [tag for tag in "ABCDE" if cache.get(tag, NOON + 10)] == ["A", "D", "E"]

    def test_hearing_again_of_a_known_one_needs_no_room(self) -> None:
        """A full cache throws nobody out for an identifier that it holds."""
        cache = AuthorizationCache(2)
        cache.learn("A", BLOCKED, NOON)
        cache.learn("B", VALID, NOON)
        cache.learn("b", VALID, NOON)

        assert (cache.get("A", NOON), cache.get("B", NOON)) == (BLOCKED, VALID)

    def test_clear(self) -> None:
        """ClearCache forgets everything (core 5.4)."""
        cache = AuthorizationCache(2)
        cache.learn("A", VALID, NOON)
        cache.clear()

        assert (cache.get("A", NOON), len(cache)) == (None, 0)

    def test_no_room_at_all(self) -> None:
        """A charge point without memory for a cache knows nobody."""
        cache = AuthorizationCache(0)
        cache.learn("A", VALID, NOON)

        assert (cache.get("A", NOON), len(cache)) == (None, 0)


class CacheMachine(RuleBasedStateMachine):
    """A small cache under any use, judged by the rules of core 3.5.1, with a log of all that was said."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = AuthorizationCache(3)
        self.log: list[tuple[str, IdTagInfo]] = []
        self.kept: set[str] = set()
        self.utc = NOON

    def said(self, tag: str) -> IdTagInfo:
        """What was said last of an identifier, at the present time."""
        info = next(info for known, info in reversed(self.log) if known == tag)
        is_over = info.expires is not None and info.expires <= self.utc
        return IdTagInfo("Expired", info.expires, info.parent) if is_over else info

    def age(self, tag: str) -> int:
        return next(age for age, (known, _) in enumerate(reversed(self.log)) if known == tag)

    @rule(
        tag=st.sampled_from("ABCDEF"),
        status=st.sampled_from(["Accepted", "Accepted", "Accepted", "Blocked", "Invalid", "ConcurrentTx"]),
        lifetime=st.one_of(st.none(), st.integers(min_value=0, max_value=20)),
        parent=st.one_of(st.none(), st.just("FAMILY")),
    )
    def learn(self, tag: str, status: str, lifetime: int | None, parent: str | None) -> None:
        info = IdTagInfo(status, None if lifetime is None else self.utc + lifetime, parent)
        before = set(self.kept)
        ages = {known: self.age(known) for known in before}
        valid = {known for known in before if self.said(known).status == "Accepted"}
        self.cache.learn(tag.lower(), info, self.utc)
        self.log.append((tag, info))
        self.kept = {known for known in "ABCDEF" if self.cache.get(known, self.utc) is not None}

        assert tag in self.kept
        assert self.kept <= before | {tag}
        gone = before - self.kept
        if tag in before or len(before) < 3:
            assert not gone
            return
        assert before - valid <= gone
        if valid == before:
            assert gone == {max(before, key=lambda known: ages[known])}
        else:
            assert gone == before - valid

    @rule(seconds=st.integers(min_value=0, max_value=15))
    def wait(self, seconds: int) -> None:
        self.utc += seconds

    @precondition(lambda self: self.kept)
    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.kept = set()

    @invariant()
    def all_is_as_it_was_said(self) -> None:
        assert len(self.kept) == len(self.cache) <= 3
        for tag in "ABCDEF":
            expected = self.said(tag) if tag in self.kept else None
            assert expected == self.cache.get(tag, self.utc)


TestCacheMachine = CacheMachine.TestCase


# The whole truth (core 3.5, 3.5.4, 4.1): A for accepted, R for refused, ? for asking the central system.
# Each letter is for one setting of LocalPreAuthorize, LocalAuthorizeOffline, AllowOfflineTxForUnknownId:
SETTINGS = ("000", "001", "010", "011", "100", "101", "110", "111")
TRUTH = {
    # is online, where it is known, whether it is valid there
    (True, "list", True): "????AAAA",
    (True, "list", False): "????????",
    (True, "cache", True): "????AAAA",
    (True, "cache", False): "????????",
    (True, "nowhere", False): "????????",
    (False, "list", True): "RAAARAAA",
    (False, "list", False): "RRRRRRRR",
    (False, "cache", True): "RAAARAAA",
    (False, "cache", False): "RRRRRRRR",
    (False, "nowhere", False): "RARARARA",
}
LETTERS = {"A": Verdict.ACCEPTED, "R": Verdict.REFUSED, "?": Verdict.ASK}


def holding(place: str, info: IdTagInfo) -> dict[str, Any]:
    """A local list and a cache of which one holds the identifier TAG."""
    local_list, cache = LocalList(), AuthorizationCache(5)
    if place == "list":
        fill(local_list, info)
    elif place == "cache":
        cache.learn("tag", info, NOON - 100)
    return {"local_list": local_list, "cache": cache}


def fill(local_list: LocalList, info: IdTagInfo) -> None:
    # The one moment at which any of these expires.
    expiry = {} if info.expires is None else {"expiryDate": NOON_TEXT}
    entry = {"idTag": "Tag", "idTagInfo": {"status": info.status, **expiry}}
    payload = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [entry]}
    assert send(local_list, payload) == "Accepted"


def settings(bits: str, **more: str) -> Configuration:
    names = ("LocalPreAuthorize", "LocalAuthorizeOffline", "AllowOfflineTxForUnknownId")
    chosen = {name: "true" if bit == "1" else "false" for name, bit in zip(names, bits, strict=True)}
    return configured(**chosen, **more)


@pytest.mark.parametrize(
    ("is_online", "place", "is_valid", "bits", "letter"),
    [
        (*situation, bits, letter)
        for situation, letters in TRUTH.items()
        for bits, letter in zip(SETTINGS, letters, strict=True)
    ],
)
def test_the_truth_table(is_online: bool, place: str, is_valid: bool, bits: str, letter: str) -> None:
    """Who may charge at once, who is refused at once, and of whom the central system is asked (core 3.5, 4.1)."""
    infos = (
        [VALID] if is_valid else [BLOCKED, IdTagInfo("Invalid"), IdTagInfo("ConcurrentTx"), IdTagInfo("Accepted", NOON)]
    )

    for info in infos:
        known = holding(place, info)
        verdict, found = decide("TAG", NOON, is_online=is_online, configuration=settings(bits), **known)
        assert LETTERS[letter] is verdict
        assert found == (None if place == "nowhere" else info.at(NOON))


@pytest.mark.parametrize("is_online", [True, False])
@pytest.mark.parametrize("bits", SETTINGS)
@pytest.mark.parametrize(("place", "key"), [("list", "LocalAuthListEnabled"), ("cache", "AuthorizationCacheEnabled")])
@pytest.mark.parametrize("info", [VALID, BLOCKED])
def test_what_is_switched_off_knows_nobody(is_online: bool, bits: str, place: str, key: str, info: IdTagInfo) -> None:
    """LocalAuthListEnabled and AuthorizationCacheEnabled (core 9.2.1, 9.1.2); either may not be there."""
    expected = LETTERS[TRUTH[is_online, "nowhere", False][SETTINGS.index(bits)]]
    off = settings(bits, **{key: "false"})
    known = holding(place, info)
    absent = {**known, "local_list" if place == "list" else "cache": None}

    assert decide("TAG", NOON, is_online=is_online, configuration=off, **known) == (expected, None)
    assert decide("TAG", NOON, is_online=is_online, configuration=settings(bits), **absent) == (expected, None)


@pytest.mark.parametrize("is_online", [True, False])
@pytest.mark.parametrize(
    ("listed", "cached"), [(VALID, BLOCKED), (BLOCKED, VALID), (IdTagInfo("Accepted", NOON), VALID)]
)
def test_the_list_goes_before_the_cache(is_online: bool, listed: IdTagInfo, cached: IdTagInfo) -> None:
    """An entry of the list counts, whatever the cache says of the same identifier (core 3.5.3)."""
    known = holding("cache", cached)
    fill(known["local_list"], listed)
    expected = TRUTH[is_online, "list", listed.is_valid(NOON)][SETTINGS.index("110")]

    verdict, info = decide("tAG", NOON, is_online=is_online, configuration=settings("110"), **known)
    assert (LETTERS[expected], listed.at(NOON)) == (verdict, info)
    assert info is not None


class TestRemember:
    """What gets into the cache (core 3.5.1, 3.5.3)."""

    def test_what_an_answer_says_is_remembered(self) -> None:
        """An identifier that was accepted online may charge offline."""
        known = holding("nowhere", VALID)
        remember("TAG", VALID, NOON, configuration=configured(), **known)

        assert decide("tag", NOON, is_online=False, configuration=configured(), **known) == (Verdict.ACCEPTED, VALID)

    def test_not_what_the_list_knows(self) -> None:
        """Identifiers of the list are not added to the cache (core 3.5.3)."""
        known = holding("list", BLOCKED)
        remember("TAG", VALID, NOON, configuration=configured(), **known)

        assert len(known["cache"]) == 0

    def test_not_while_the_cache_is_off(self) -> None:
        """AuthorizationCacheEnabled false: nothing is learned (core 9.1.2)."""
        known = holding("nowhere", VALID)
        remember("TAG", VALID, NOON, configuration=configured(AuthorizationCacheEnabled="false"), **known)

        assert len(known["cache"]) == 0

    def test_without_list_or_cache(self) -> None:
        """A charge point may have neither."""
        cache = AuthorizationCache(1)
        remember("TAG", VALID, NOON, configuration=configured(), local_list=None, cache=None)
        remember("TAG", VALID, NOON, configuration=configured(), local_list=None, cache=cache)

        assert cache.get("TAG", NOON) == VALID
