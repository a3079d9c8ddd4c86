"""What a charge point is configured to do: ChangeConfiguration (core 5.3) and GetConfiguration (core 5.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, cast

from ampswarm.charge_point.configuration_keys import (
    MAX_HEARTBEAT_INTERVAL,
    MAX_VALUE_LENGTH,
    Key,
    Make,
    Profile,
    Rule,
    Value,
    rules,
    split_items,
    text_of,
)
from ampswarm.charge_point.sampling import Wanted
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload

__all__ = [
    "MAX_HEARTBEAT_INTERVAL",
    "Configuration",
    "ConfigurationStatus",
    "Defaults",
    "InvalidSetting",
    "Key",
    "Make",
    "Profile",
    "Value",
]

_MAX_NAME_LENGTH: Final = 50

Check = Callable[[Key, object], "ConfigurationStatus | None"]
"""Gets a key and the value that it would have; gives a status to answer with instead of storing it, or `None`."""


class ConfigurationStatus(StrEnum):
    """What became of a ChangeConfiguration (core 7.22)."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    REBOOT_REQUIRED = "RebootRequired"
    NOT_SUPPORTED = "NotSupported"


class InvalidSetting(ValueError):  # noqa: N818 - the name says what is wrong
    """A configuration that a charge point cannot leave the factory with: one line that names the key."""


class Defaults:
    """The configuration with which the charge points of one population leave the factory; they share it.

    Args:
        make: what the keys depend on.
        settings: values that differ from the usual, also of read-only keys; in names, case does not count.
        vendor_keys: keys of the vendor's own and their values, texts that the central system may change.
        reboot_required: names of keys whose change becomes effective with the next reboot.

    Raises:
        InvalidSetting: an unknown key, or a value that it cannot have.
    """

    __slots__ = ("entries", "names", "profiles", "reboot_required", "rules", "values")

    values: dict[str, Any]
    """By name, as spelled in `Key`."""
    rules: dict[str, Rule]
    """Of the standard keys."""
    names: dict[str, str]
    """Of the keys that the central system knows: from the casefolded name to the proper spelling."""
    entries: dict[str, Payload]
    """The KeyValue (core 7.29) of each of these, in the order in which they are listed."""
    profiles: frozenset[str]
    """The feature profiles that the charge point supports (core 9.1.29)."""
    reboot_required: frozenset[str]

    def __init__(
        self,
        make: Make,
        settings: Mapping[str, str] | None = None,
        *,
        vendor_keys: Mapping[str, str] | None = None,
        reboot_required: frozenset[str] = frozenset(),
    ) -> None:
        standard = rules(make)
        self.rules = {key.value: rule for key, rule in standard.items()}
        spelling = {name.casefold(): name for name in self.rules}
        chosen: dict[str, str] = {}
        for name, text in (settings or {}).items():
            key = spelling.get(name.casefold())
            if key is None:
                raise InvalidSetting(f"{name[:_MAX_NAME_LENGTH]}: this charge point has no such standard key")
            chosen[key] = text
        self.values = {}
        # Lists come last: how long they may be is another key.
        for name, rule in sorted(self.rules.items(), key=lambda item: item[1].length_key is not None):
            text = chosen.get(name, rule.default)
            try:
                # Only the factory can leave a password out.
                self.values[name] = text if rule.is_writeonly and not text else self.parse(name, text)
            except ValueError as error:
                raise InvalidSetting(f"{name}: {error}") from None
        self.profiles = frozenset(self.values[Key.SUPPORTED_FEATURE_PROFILES].split(","))
        # A key need only be there with its profile (core chapter 9).
        self.names = {key: name for key, name in spelling.items() if self.rules[name].profile in self.profiles}
        for name in chosen:
            if name.casefold() not in self.names:
                raise InvalidSetting(f"{name}: the profile {self.rules[name].profile} is not supported")
        for name, text in (vendor_keys or {}).items():
            self._add_vendor_key(name, text)
        self.entries = {name: self.entry(name, self.values[name]) for name in self.names.values()}
        self.reboot_required = frozenset(self._writable_name(name) for name in reboot_required)

    def parse(self, name: str, text: str) -> Value:
        """Return the value that a text means to a key.

        Args:
            name: of a key that there is, properly spelled.
            text: as ChangeConfiguration.req brings it.

        Raises:
            ValueError: one line that says what is wrong with the text.
        """
        if len(text) > MAX_VALUE_LENGTH:
            raise ValueError(f"longer than {MAX_VALUE_LENGTH} characters")
        rule = self.rules.get(name)
        if rule is None:
            return text
        if rule.length_key is not None:
            most: int = self.values[rule.length_key]
            if len(split_items(text)) > most:
                raise ValueError(f"more than {most} items ({rule.length_key})")
        return rule.parse(text)

    def is_readonly(self, name: str) -> bool:
        """Tell whether ChangeConfiguration cannot change this key."""
        rule = self.rules.get(name)
        return rule is not None and rule.is_readonly

    def entry(self, name: str, value: Value) -> Payload:
        """Return the KeyValue of a key that has this value (core 7.29)."""
        rule = self.rules.get(name)
        entry: Payload = {"key": name, "readonly": self.is_readonly(name)}
        # AuthorizationKey is write-only (whitepaper 7.2). It is listed, but without a value, which core 7.29
        # allows: left out it would be an unknown key to a central system that asks for it and can yet write it.
        if rule is None or not rule.is_writeonly:
            entry["value"] = text_of(value)
        return entry

    def _add_vendor_key(self, name: str, text: str) -> None:
        if not 0 < len(name) <= _MAX_NAME_LENGTH:
            raise InvalidSetting(f"{name[:_MAX_NAME_LENGTH]!r}: a key has 1 to {_MAX_NAME_LENGTH} characters")
        folded = name.casefold()
        if folded in self.names or any(folded == key.casefold() for key in Key):
            raise InvalidSetting(f"{name}: no key of the vendor's own, there is one of this name")
        try:
            self.values[name] = self.parse(name, text)
        except ValueError as error:
            raise InvalidSetting(f"{name}: {error}") from None
        self.names[folded] = name

    def _writable_name(self, name: str) -> str:
        found = self.names.get(name.casefold())
        if found is None or self.is_readonly(found):
            raise InvalidSetting(f"{name[:_MAX_NAME_LENGTH]}: no key that a reboot could make effective")
        return found


class Configuration:
    """The configuration of one charge point: what differs from the defaults. It outlasts reboots."""

    __slots__ = ("_after_reboot", "_changes", "_defaults")

    # Both by name; None until there is something in them.
    _changes: dict[str, Any] | None
    _after_reboot: dict[str, Any] | None

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._changes = None
        self._after_reboot = None

    @property
    def profiles(self) -> frozenset[str]:
        """The feature profiles that the charge point supports (core 9.1.29)."""
        return self._defaults.profiles

    def integer(self, key: Key) -> int:
        """Return the value of a key that holds an integer; times are in seconds."""
        changes = self._changes
        values = self._defaults.values if changes is None or key not in changes else changes
        value: int = values[key]
        return value

    def boolean(self, key: Key) -> bool:
        """Return the value of a key that holds a boolean; `False` if this make of charge point has no such key."""
        changes = self._changes
        values = self._defaults.values if changes is None or key not in changes else changes
        value: bool = values.get(key, False)
        return value

    def measurands(self, key: Key) -> tuple[Wanted, ...]:
        """Return what a key with a list of measurands asks for."""
        changes = self._changes
        values = self._defaults.values if changes is None or key not in changes else changes
        value: tuple[Wanted, ...] = values[key]
        return value

    def text(self, key: str) -> str:
        """Return the value of any key as text, also of AuthorizationKey, which `get` never tells.

        Args:
            key: a `Key`, or the name of a vendor's own key as it was given to `Defaults`.
        """
        return text_of(self._value(key))

    def change(self, name: str, value: str, *, check: Check | None = None) -> ConfigurationStatus:
        """Carry out a ChangeConfiguration (core 5.3).

        Args:
            name: of the key; its case does not count (core 7.17).
            value: the new value.
            check: asked before a standard key's value is stored; a status that it gives is returned, and
                nothing changes.
        """
        defaults = self._defaults
        key = defaults.names.get(name.casefold())
        if key is None:
            return ConfigurationStatus.NOT_SUPPORTED
        try:
            parsed = defaults.parse(key, value)
        except ValueError:
            return ConfigurationStatus.REJECTED
        if defaults.is_readonly(key) or not self._may_become(key, parsed):
            return ConfigurationStatus.REJECTED
        if check is not None and key in defaults.rules:
            refusal = check(Key(key), parsed)
            if refusal is not None:
                return refusal
        if self._after_reboot is not None:
            self._after_reboot.pop(key, None)
        if key in defaults.reboot_required and parsed != self._value(key):
            if self._after_reboot is None:
                self._after_reboot = {}
            self._after_reboot[key] = parsed
            return ConfigurationStatus.REBOOT_REQUIRED
        self._store(key, parsed)
        return ConfigurationStatus.ACCEPTED

    def set(self, key: Key, value: Value) -> None:
        """Change a value on the charge point's own behalf: at once, read-only or not, and without checks."""
        self._store(key.value, value)

    def reboot(self) -> list[str]:
        """Make effective what ChangeConfiguration.conf said would need a reboot (core 7.22); return which keys."""
        pending, self._after_reboot = self._after_reboot, None
        if pending is None:
            return []
        for name, value in pending.items():
            self._store(name, value)
        return list(pending)

    def get(self, names: Sequence[str] | None = None) -> Payload:
        """Return the GetConfiguration.conf (core 5.8); it is for sending, parts of it are shared.

        What waits for a reboot is told, as the setting *has* been changed (core 7.22).

        Args:
            names: the keys that were asked for; all of them for `None` or an empty list.

        Raises:
            OcppError: OccurenceConstraintViolation for more names than GetConfigurationMaxKeys. Core 5.8 lets
                a charge point set the limit and no answer say that it was passed; to leave names out would
                make them neither known nor unknown.
        """
        if not names:
            return {"configurationKey": [self._entry(key) for key in self._defaults.names.values()]}
        most = self.integer(Key.GET_CONFIGURATION_MAX_KEYS)
        if len(names) > most:
            raise OcppError(
                ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION,
                f"at most {most} keys at once ({Key.GET_CONFIGURATION_MAX_KEYS})",
            )
        known: dict[str, Payload] = {}
        unknown: dict[str, str] = {}
        for name in names:
            folded = name.casefold()
            key = self._defaults.names.get(folded)
            if key is None:
                unknown.setdefault(folded, name)
            else:
                known[key] = self._entry(key)
        payload: Payload = {"configurationKey": list(known.values())}
        if unknown:
            payload["unknownKey"] = list(unknown.values())
        return payload

    def _may_become(self, name: str, value: Value) -> bool:
        # A security profile is never lowered, nor set anew, over OCPP (whitepaper A05.FR.01).
        return name != Key.SECURITY_PROFILE or cast("int", value) > self.integer(Key.SECURITY_PROFILE)

    def _value(self, name: str) -> Any:  # noqa: ANN401 - each key has a type of its own
        changes = self._changes
        if changes is not None and name in changes:
            return changes[name]
        return self._defaults.values[name]

    def _store(self, name: str, value: Value) -> None:
        if value == self._defaults.values.get(name):
            # Most of a fleet is told what it has: that must cost no memory.
            if self._changes is not None and self._changes.pop(name, None) is not None and not self._changes:
                self._changes = None
            return
        if self._changes is None:
            self._changes = {}
        self._changes[name] = value

    def _entry(self, name: str) -> Payload:
        for values in (self._after_reboot, self._changes):
            if values is not None and name in values:
                return self._defaults.entry(name, values[name])
        return self._defaults.entries[name]
