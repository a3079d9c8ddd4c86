"""Validation of every payload of OCPP 1.6, the security extension included.

The schemas are those of the `ocpp` package, compiled by jsonschema-rs. Only their files are used:
importing `ocpp` would load its asyncio charge point and a validator in Python into every worker.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import orjson

from ampswarm.ocppj.errors import ErrorCode, OcppError

CHARGE_POINT_ACTIONS: Final = frozenset(
    {
        "Authorize",
        "BootNotification",
        "DataTransfer",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "SecurityEventNotification",
        "SignCertificate",
        "SignedFirmwareStatusNotification",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
    }
)
"""What a charge point may call (core chapter 4, security whitepaper chapter 5)."""

CENTRAL_SYSTEM_ACTIONS: Final = frozenset(
    {
        "CancelReservation",
        "CertificateSigned",
        "ChangeAvailability",
        "ChangeConfiguration",
        "ClearCache",
        "ClearChargingProfile",
        "DataTransfer",
        "DeleteCertificate",
        "ExtendedTriggerMessage",
        "GetCompositeSchedule",
        "GetConfiguration",
        "GetDiagnostics",
        "GetInstalledCertificateIds",
        "GetLocalListVersion",
        "GetLog",
        "InstallCertificate",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "ReserveNow",
        "Reset",
        "SendLocalList",
        "SetChargingProfile",
        "SignedUpdateFirmware",
        "TriggerMessage",
        "UnlockConnector",
        "UpdateFirmware",
    }
)
"""What a central system may call (core chapter 5, security whitepaper chapter 5)."""

ACTIONS: Final = CHARGE_POINT_ACTIONS | CENTRAL_SYSTEM_ACTIONS


class Direction(Enum):
    """Which of an action's two payloads: the request's or the confirmation's."""

    REQ = ""
    """`<Action>.req`, the payload of a Call."""
    CONF = "Response"
    """`<Action>.conf`, the payload of a CallResult."""


# The nearest code of J 4.2.3, table 7, for each way to break a schema, the gravest first: a payload
# that breaks it in several ways gets the first of these, whatever order the validator finds them in.
_CODES: Final = {
    "required": ErrorCode.PROTOCOL_ERROR,
    "additionalProperties": ErrorCode.FORMATION_VIOLATION,
    # What the validator calls an additional property where the schema allows none at all.
    "falseSchema": ErrorCode.FORMATION_VIOLATION,
    "type": ErrorCode.TYPE_CONSTRAINT_VIOLATION,
    "maxLength": ErrorCode.TYPE_CONSTRAINT_VIOLATION,
    "minItems": ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION,
    "enum": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    "multipleOf": ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
}
_RANKS: Final = {keyword: rank for rank, keyword in enumerate(_CODES)}
_MAX_DESCRIPTION: Final = 200


def _folder() -> Path:
    package = find_spec("ocpp")
    if package is None or not package.submodule_search_locations:
        raise ImportError("the ocpp package, whose schema files are used, is not installed")
    return Path(package.submodule_search_locations[0], "v16", "schemas")


# What the standard calls anyURI may also be relative, or an IRI, which JSON Schema's "uri" may not.
_FORMATS: Final = {"uri": lambda _text: True}


def _compile(
    folder: Path, action: str, direction: Direction, *, validate_formats: bool = False
) -> jsonschema_rs.Draft4Validator:
    # As the package itself validates: as draft 4, whatever $schema they name, and mostly without the formats. Charge
    # points and central systems write times in more ways than one.
    schema = orjson.loads((folder / f"{action}{direction.value}.json").read_bytes())
    return jsonschema_rs.Draft4Validator(schema, validate_formats=validate_formats, formats=_FORMATS)


def _compile_all() -> dict[Direction, dict[str, jsonschema_rs.Draft4Validator]]:
    folder = _folder()
    return {each: {action: _compile(folder, action, each) for action in sorted(ACTIONS)} for each in Direction}


@cache
def _with_formats(action: str, direction: Direction) -> jsonschema_rs.Draft4Validator:
    return _compile(_folder(), action, direction, validate_formats=True)


_VALIDATORS: Final = _compile_all()
_REQ: Final = _VALIDATORS[Direction.REQ]
_CONF: Final = _VALIDATORS[Direction.CONF]


def validate(action: str, direction: Direction, payload: dict[str, Any], *, formats: bool = False) -> None:
    """Check a payload against the schema of its action.

    Args:
        action: whose payload it is.
        direction: which of its two.
        payload: what is looked at.
        formats: whether dates and times have to be such, as RFC 3339 writes them. For what people write; not for each
            message.

    Raises:
        OcppError: NotImplemented for an action that 1.6 does not know; else the code that says in
            which way the payload breaks the schema.
    """
    validator = (_REQ if direction is Direction.REQ else _CONF).get(action)
    if validator is None:
        raise OcppError(ErrorCode.NOT_IMPLEMENTED, f"unknown action {action[:60]!r}")
    if formats:
        validator = _with_formats(action, direction)
    try:
        if validator.is_valid(payload):
            return
        raise _violation(validator, payload)
    except (UnicodeError, OverflowError, TypeError, ValueError) as error:
        # Only a payload made in Python can come here (a lone surrogate, an object of a class of
        # its own): what JSON text can say never does.
        raise OcppError(ErrorCode.FORMATION_VIOLATION, f"not JSON: {error}"[:_MAX_DESCRIPTION]) from None


def _violation(validator: jsonschema_rs.Draft4Validator, payload: dict[str, Any]) -> OcppError:
    worst = min(
        validator.iter_errors(payload),
        key=lambda error: (
            _RANKS.get(error.kind.name, len(_RANKS)),
            [str(step) for step in error.instance_path],
        ),
    )
    place = "/".join(str(step) for step in worst.instance_path)
    code = _CODES.get(worst.kind.name, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION)
    description = f"{place}: {worst.message}" if place else worst.message
    return OcppError(code, description[:_MAX_DESCRIPTION])
