"""Payloads made from the schemas of the `ocpp` package: valid ones, and ones with one thing wrong."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import ocpp.v16
from hypothesis import strategies as st

from ampswarm.ocppj.schemas import Direction

_FOLDER = Path(ocpp.v16.__file__).parent / "schemas"
_TEXT = st.characters(exclude_categories=["Cs"])
_FORMATS = {"date-time": "2026-03-01T12:00:00Z", "uri": "ftp://files.example.com/firmware.bin"}


@cache
def schema(action: str, direction: Direction) -> dict[str, Any]:
    """Return the schema of one payload."""
    text = (_FOLDER / f"{action}{direction.value}.json").read_text("utf-8-sig")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def valid(action: str, direction: Direction) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for payloads that keep to the schema."""
    root = schema(action, direction)
    return _from(root, root)


def _from(node: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in node:
        target: Any = root
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _from(target, root)
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node.get("type"):
        case "object":
            required = set(node.get("required", []))
            fields = {name: _from(each, root) for name, each in node.get("properties", {}).items()}
            return st.fixed_dictionaries(
                {name: each for name, each in fields.items() if name in required},
                optional={name: each for name, each in fields.items() if name not in required},
            )
        case "array":
            return st.lists(_from(node["items"], root), min_size=node.get("minItems", 0), max_size=3)
        case "string":
            if node.get("format") in _FORMATS:
                return st.just(_FORMATS[node["format"]])
            return st.text(_TEXT, max_size=min(node.get("maxLength", 30), 2000))
        case "integer":
            return st.integers(-(2**31), 2**31 - 1)
        case "number":
            return st.integers(-(10**7), 10**7).map(lambda tenths: tenths / 10)
        case "boolean":
            return st.booleans()
    raise AssertionError(f"a kind of schema that no strategy is written for: {node}")


_STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(_TEXT, max_size=3),
    st.just("x" * 26_000),
    # Made anew each time: one that is put into itself would have no end.
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: [{}]),
    st.builds(lambda: {"unknown": 1}),
    st.sampled_from(["accepted", "Accepted ", "ACCEPTED", "", "Celsius", "Celcius", 0.25, 1.0, 16.1]),
)


@st.composite
def mutated(draw: st.DrawFn, action: str, direction: Direction) -> dict[str, Any]:
    """Draw a valid payload and do one to three strange things to it, at any depth."""
    payload: dict[str, Any] = copy.deepcopy(draw(valid(action, direction)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(payload))
        container, key = draw(st.sampled_from(places)) if places else (payload, None)
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace" if key is not None:
                container[key] = draw(_STRANGE)
            case "remove" if key is not None:
                del container[key]
            case _:
                target = container if isinstance(container, dict) else payload
                target[draw(st.sampled_from(["unknown", "status", "connectorId", ""]))] = draw(_STRANGE)
    return payload


def _places(node: Any) -> Any:
    """Yield every (container, key) in a payload."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        yield node, key
        yield from _places(value)
