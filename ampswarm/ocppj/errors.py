"""The error codes of OCPP-J (J 4.2.3, table 7) and the exception that carries one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """What a CallError says, in the spelling that 1.6 puts on the wire."""

    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    INTERNAL_ERROR = "InternalError"
    PROTOCOL_ERROR = "ProtocolError"
    SECURITY_ERROR = "SecurityError"
    FORMATION_VIOLATION = "FormationViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    OCCURENCE_CONSTRAINT_VIOLATION = "OccurenceConstraintViolation"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"
    GENERIC_ERROR = "GenericError"

    @classmethod
    def parse(cls, text: str) -> ErrorCode | None:
        """Return the code that `text` spells, or `None` for one that 1.6 does not know.

        The two codes that 1.6 misspells are accepted in both spellings (J errata 5.1 and 5.2).
        """
        return _BY_SPELLING.get(text)


_BY_SPELLING: dict[str, ErrorCode] = {
    **{code.value: code for code in ErrorCode},
    "FormatViolation": ErrorCode.FORMATION_VIOLATION,
    "OccurrenceConstraintViolation": ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION,
}


class OcppError(Exception):
    """A Call that cannot be answered with a CallResult; becomes a CallError on the wire.

    Args:
        code: what went wrong, as table 7 of J 4.2.3 has it.
        description: one line for a person; "" when there is nothing to add.
        details: a JSON object; `None` is sent as `{}`, which J 4.2.3 demands.
    """

    def __init__(self, code: ErrorCode, description: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {description}" if description else str(code))
        self.code = code
        self.description = description
        self.details = details or {}
