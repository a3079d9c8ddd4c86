"""Hooks of Schemathesis, which it imports: they let some of its requests reach charge points, with what these take."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from hypothesis import strategies as st

from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS, Direction
from tests.ocppj.payloads import valid

Case = schemathesis.Case[Any]
HookContext = schemathesis.HookContext
ANSWERING, REFUSING, BREAKING, MUTE = "answers", "refuses", "breaks/the rules", "mute"
"""The charge points that are connected."""
CALLS = "/calls/"
CALL_MANY = "/api/v1/calls/{action}"
PATIENCE = 0.1
"""Seconds that are waited for the one that never answers."""
CHAOS = "/api/v1/chaos"


@schemathesis.hook
def flatmap_case(context: HookContext, case: Case) -> st.SearchStrategy[Case]:
    """Replace half of the valid requests by ones that reach a charge point."""
    if "{action}" not in case.path or case.meta is None or not case.meta.generation.mode.is_positive:
        return st.just(case)
    return st.one_of(st.just(case), _reaching(case))


@st.composite
def _reaching(draw: st.DrawFn, case: Case) -> Case:
    action = draw(st.sampled_from(sorted(CENTRAL_SYSTEM_ACTIONS)))
    payload = draw(valid(action, Direction.REQ))
    case.path_parameters["action"] = action
    if "identity" in case.path_parameters:
        case.path_parameters["identity"] = draw(st.sampled_from([ANSWERING, REFUSING, BREAKING, MUTE]))
        case.body = payload
    elif isinstance(case.body, dict):
        case.body["payload"] = payload
    return case


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Do not wait for an hour for who never answers, and spare the charge points all chaos."""
    if case.path.startswith(CHAOS) and isinstance(case.body, dict):
        _spare(case.path.removeprefix(CHAOS), case.body)
    if CALLS in case.path and case.path_parameters.get("identity") == MUTE and _is_long(case.query.get("timeout")):
        case.query["timeout"] = PATIENCE
    elif case.path == CALL_MANY and isinstance(case.body, dict) and _is_long(case.body.get("timeout")):
        case.body["timeout"] = PATIENCE


def _is_long(timeout: Any) -> bool:
    """Return whether it is a timeout at all, and a long one. None is one of 30 s."""
    return timeout is None or (type(timeout) in (int, float) and PATIENCE < timeout <= 3600)


def _spare(path: str, body: dict[str, Any]) -> None:
    """Leave what is wrong with it, and take the sting out of what is not."""
    if path == "/stalls":
        _replace(body, "seconds", 300, 0.001)
    elif path == "/drops":
        _replace(body, "share", 1, 0)
    else:
        for name, rules in body.items():
            for rule in rules if isinstance(rules, list) else []:
                if isinstance(rule, dict) and name == "stalls":
                    _replace(rule, "at", 2**31 - 1, 1e6)
                elif isinstance(rule, dict):
                    rule.setdefault("share", 0)
                    _replace(rule, "share", 1, 0)


def _replace(body: dict[str, Any], key: str, most: float, value: float) -> None:
    if type(body.get(key)) in (int, float) and 0 <= body[key] <= most:
        body[key] = value


@schemathesis.deserializer("application/x-ndjson")
def lines(context: schemathesis.DeserializationContext, response: schemathesis.Response) -> str:
    """Each line is JSON, and the last one sums up."""
    *answers, last = [json.loads(line) for line in response.content.splitlines()]
    assert last["summary"]["charge_points"] == len(answers)
    assert all({"identity"} < set(answer) for answer in answers)
    return response.content.decode()
