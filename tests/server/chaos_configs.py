"""Configurations of chaos, for property-based tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ampswarm.ocppj.errors import ErrorCode
from ampswarm.ocppj.schemas import CHARGE_POINT_ACTIONS

IDENTITIES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
ACTIONS = st.sampled_from(sorted(CHARGE_POINT_ACTIONS))
SHARES = st.floats(0, 1)
_SECONDS = st.floats(0, 600)
_CLOSE_CODES = st.sampled_from([1000, 1003, 1007, 1012, 1014, 3000, 4999])


def _rule(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    required = {name: each for name, each in more.items() if not name.startswith("maybe_")}
    optional = {name.removeprefix("maybe_"): each for name, each in more.items() if name.startswith("maybe_")}
    return st.fixed_dictionaries(required, optional={"rate": SHARES, "share": SHARES, **optional})


def _of_calls(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(_rule(maybe_actions=st.lists(ACTIONS, min_size=1, max_size=4), **more), max_size=3)


def _table(kind: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"distribution": st.just(kind), **more})


DELAYS = st.one_of(
    _SECONDS,
    st.integers(0, 600),
    _table("fixed", value=_SECONDS),
    _table("uniform", min=st.floats(0, 10), max=st.floats(10, 600)),
    _table("normal", mean=st.floats(1, 100), sigma=st.floats(0.1, 50)),
    _table("lognormal", median=st.floats(0.1, 100), sigma=st.floats(0.1, 2)),
    _table("exponential", mean=st.floats(0.1, 100)),
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "delays": _of_calls(seconds=DELAYS),
        "call_errors": _of_calls(
            code=st.sampled_from(list(map(str, ErrorCode))), maybe_description=st.text(max_size=20)
        ),
        "withheld_answers": _of_calls(maybe_handled=st.booleans()),
        "wrong_ids": _of_calls(),
        "duplicates": _of_calls(),
        "malformed": _of_calls(),
        "drops": _of_calls(maybe_code=_CLOSE_CODES),
        "refusals": st.lists(
            st.one_of(
                _rule(status=st.sampled_from([401, 403, 404])),
                _rule(status=st.sampled_from([429, 503]), maybe_retry_after=st.integers(0, 3600)),
            ),
            max_size=3,
        ),
        "boots": st.lists(
            _rule(status=st.sampled_from(["Accepted", "Pending", "Rejected"]), maybe_interval=st.integers(0, 3600)),
            max_size=3,
        ),
        "withheld_pings": st.lists(_rule(), max_size=3),
        "stalls": st.lists(
            st.fixed_dictionaries(
                {"at": st.floats(0, 1e6), "seconds": st.floats(0.1, 300)}, optional={"every": st.floats(301, 1e6)}
            ),
            max_size=3,
        ),
    },
)
"""As TOML and JSON have them."""
