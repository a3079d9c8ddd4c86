"""Validation agrees with the `ocpp` package's own, on valid payloads and on broken ones."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import ocpp.messages
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ocpp.exceptions import OCPPError as TheirError
from ocpp.v16.enums import Action

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.schemas import (
    ACTIONS,
    CENTRAL_SYSTEM_ACTIONS,
    CHARGE_POINT_ACTIONS,
    Direction,
    validate,
)
from tests.ocppj.payloads import mutated, schema, valid

EVERY_PAYLOAD = [(action, direction) for action in sorted(ACTIONS) for direction in Direction]


def our_verdict(action: str, direction: Direction, payload: dict[str, Any]) -> ErrorCode | None:
    try:
        validate(action, direction, payload)
    except OcppError as error:
        return error.code
    return None


def their_verdict(action: str, direction: Direction, payload: dict[str, Any]) -> str | None:
    message = (
        ocpp.messages.Call("1", action, payload)
        if direction is Direction.REQ
        else ocpp.messages.CallResult("1", payload, action)
    )
    try:
        ocpp.messages._validate_payload(message, "1.6")
    except TheirError as error:
        code: str = error.code
        return code
    return None


def test_every_action_of_16_and_of_the_security_extension_is_known() -> None:
    """An action that is missing here could neither be sent nor answered."""
    assert {each.value for each in Action} == ACTIONS
    assert {"DataTransfer"} == CHARGE_POINT_ACTIONS & CENTRAL_SYSTEM_ACTIONS


@pytest.mark.parametrize(("action", "direction"), EVERY_PAYLOAD)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_valid_payloads_pass_here_as_they_do_in_the_ocpp_package(
    data: st.DataObject, action: str, direction: Direction
) -> None:
    """A valid payload that is refused would be a failure that no charge point has made."""
    payload = data.draw(valid(action, direction))
    assert their_verdict(action, direction, payload) is None
    assert our_verdict(action, direction, payload) is None


@pytest.mark.parametrize(("action", "direction"), EVERY_PAYLOAD)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_strange_payloads_are_refused_exactly_when_the_ocpp_package_refuses_them(
    data: st.DataObject, action: str, direction: Direction
) -> None:
    """Both must draw the same line, or a test against one says nothing about the other."""
    # Through JSON, as they would come: both must see the same numbers.
    payload = json.loads(json.dumps(data.draw(mutated(action, direction))))
    ours = our_verdict(action, direction, payload)
    theirs = their_verdict(action, direction, payload)
    assert (ours is None) == (theirs is None), (ours, theirs)
    errors = list(jsonschema.Draft4Validator(schema(action, direction)).iter_errors(payload))
    if ours is not None and len(errors) == 1:
        assert CODE_OF_KEYWORD[errors[0].validator][0] == ours
        assert CODE_OF_KEYWORD[errors[0].validator][1] == theirs


# The package has one name for several faults; table 7 of J 4.2.3 tells them apart.
CODE_OF_KEYWORD = {
    "type": (ErrorCode.TYPE_CONSTRAINT_VIOLATION, "TypeConstraintViolation"),
    "maxLength": (ErrorCode.TYPE_CONSTRAINT_VIOLATION, "TypeConstraintViolation"),
    "required": (ErrorCode.PROTOCOL_ERROR, "ProtocolError"),
    "additionalProperties": (ErrorCode.FORMATION_VIOLATION, "FormatViolation"),
    "enum": (ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "FormatViolation"),
    "multipleOf": (ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "FormatViolation"),
    "minItems": (ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION, "FormatViolation"),
}


@pytest.mark.parametrize(
    ("payload", "code", "said"),
    [
        ({"chargePointVendor": "V"}, ErrorCode.PROTOCOL_ERROR, "chargePointModel"),
        ({"chargePointVendor": "V", "chargePointModel": 1}, ErrorCode.TYPE_CONSTRAINT_VIOLATION, "chargePointModel"),
        ({"chargePointVendor": "V" * 21, "chargePointModel": "M"}, ErrorCode.TYPE_CONSTRAINT_VIOLATION, "20"),
        ({"chargePointVendor": "V", "chargePointModel": "M", "x": 1}, ErrorCode.FORMATION_VIOLATION, "x"),
    ],
)  # fmt: skip
def test_the_error_names_the_fault_and_its_place(payload: dict[str, Any], code: ErrorCode, said: str) -> None:
    """Whoever reads the CallError must be able to mend the charge point by it (J 4.2.3)."""
    with pytest.raises(OcppError) as caught:
        validate("BootNotification", Direction.REQ, payload)
    assert code == caught.value.code
    assert said in caught.value.description


def test_of_several_faults_the_gravest_is_named_whatever_their_order() -> None:
    """The same payload must always get the same code."""
    faults: list[tuple[str, object]] = [("connectorId", "1"), ("status", "Idle"), ("unknown", 1)]
    for order in (faults, faults[::-1]):
        with pytest.raises(OcppError) as caught:
            validate("StatusNotification", Direction.REQ, dict(order))
        assert caught.value.code == ErrorCode.PROTOCOL_ERROR  # errorCode is missing


def test_unknown_action_is_not_implemented() -> None:
    """J 4.2.3: an action that is not known is NotImplemented, not NotSupported."""
    assert our_verdict("Levitate", Direction.REQ, {}) is ErrorCode.NOT_IMPLEMENTED


@pytest.mark.parametrize("unit", ["Celsius", "Celcius"])
def test_both_spellings_of_celsius_are_taken(unit: str) -> None:
    """J errata 2.1: central systems accept both."""
    value = {"value": "21", "measurand": "Temperature", "unit": unit}
    meter_value = {"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [value]}
    assert our_verdict("MeterValues", Direction.REQ, {"connectorId": 1, "meterValue": [meter_value]}) is None


@pytest.mark.parametrize("value", [object(), {1}, 1j])
def test_what_is_no_json_is_refused_and_not_raised_as_something_else(value: object) -> None:
    """A payload made in Python may hold what JSON cannot say; it must not end the caller."""
    payload = {"vendorId": "v", "data": value}
    assert our_verdict("DataTransfer", Direction.REQ, payload) is ErrorCode.FORMATION_VIOLATION


@pytest.mark.parametrize(
    ("expiry", "is_time"),
    [
        ("2026-01-01T00:00:00Z", True),
        ("2026-01-01T01:00:00.25+01:00", True),
        ("2026-01-01", False),
        ("soon", False),
        ("", False),
    ],
)
def test_a_time_has_to_be_one_only_where_that_is_asked_for(expiry: str, *, is_time: bool) -> None:
    """What people write is looked at closely; what charge points say is taken as it is (core 3.15)."""
    payload = {"connectorId": 1, "expiryDate": expiry, "idTag": "T", "reservationId": 1}
    validate("ReserveNow", Direction.REQ, payload)
    if is_time:
        validate("ReserveNow", Direction.REQ, payload, formats=True)
    else:
        with pytest.raises(OcppError) as caught:
            validate("ReserveNow", Direction.REQ, payload, formats=True)
        assert caught.value.description.startswith("expiryDate: ")
    # The rest is looked at as ever, and anyURI may be relative.
    with pytest.raises(OcppError):
        validate("ReserveNow", Direction.REQ, {**payload, "connectorId": "1"}, formats=True)
    validate("GetDiagnostics", Direction.REQ, {"location": "no scheme"}, formats=True)
