"""Fleet files: the populations of a fleet, in TOML, checked before the first connection."""

from __future__ import annotations

import tomllib
from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from ampswarm.charge_point.configuration import InvalidSetting, Key
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.distribution import Uniform
from ampswarm.load.charging_behaviour import HOURS, ChargingBehaviour, IdTags, VehicleModel
from ampswarm.load.equipment import check_lists, check_paths
from ampswarm.load.fleet_csv import Read, rows, why
from ampswarm.load.fleet_security import credentials_of
from ampswarm.load.fleet_table import FORMAT_ERRORS, InvalidFleetFile, Table, text_flaw
from ampswarm.load.identity_formats import collision
from ampswarm.load.misbehaviour import Misbehaviour, Misdeed
from ampswarm.load.population import Credentials, FleetFile, Population
from ampswarm.option_types import identity_format

__all__ = [
    "CHARGING_KEYS",
    "MISBEHAVIOUR_KEYS",
    "POPULATION_KEYS",
    "VEHICLE_KEYS",
    "FleetFile",
    "FleetSource",
    "InvalidFleetFile",
    "Population",
    "load_fleet_file",
    "parse_fleet",
    "read_fleet_file",
]

POPULATION_KEYS: Final = (
    "name", "weight", "count", "identity_format",
    "vendor", "model", "firmware_version", "serial_number", "iccid", "imsi", "meter_type", "meter_serial_number",
    "connectors", "current", "power_kw", "phases", "voltage", "cable",
    "reboot_seconds", "download_seconds", "install_seconds", "upload_seconds", "outbox_messages", "cached_id_tags",
    "configuration", "vendor_keys", "reboot_required", "security", "charging", "misbehaviour",
)  # fmt: skip
CHARGING_KEYS: Final = (
    "arrivals_per_day", "energy_kwh", "minutes", "id_tags", "remote_starts", "vehicles", "day_profile", "acceleration",
)  # fmt: skip
VEHICLE_KEYS: Final = (
    "weight", "battery_kwh", "arrival_soc", "target_soc", "max_ac_kw", "max_dc_kw", "phases",
)  # fmt: skip
MISBEHAVIOUR_KEYS: Final = (*(each.value for each in Misdeed), "clock_skew_hours")

_SAID_ELSEWHERE: Final = {
    "securityprofile": "security.profile",
    "authorizationkey": "security.password",
    "numberofconnectors": "connectors",
}
"""Keys of the configuration that follow from other keys of a fleet file."""

_AT_ONCE: Final = {"authorizationkey": "whitepaper A01", "securityprofile": "whitepaper A05"}
"""Keys that a charge point connects again for, and that no reboot has to make effective."""

_FORMATS: Final = {
    # The length of each in BootNotification.req (core 6.3).
    "serial_number": 25,
    "iccid": 20,
    "imsi": 20,
    "meter_type": 25,
    "meter_serial_number": 25,
}
_TIMES: Final = {
    "reboot_seconds": "reboot_time",
    "download_seconds": "download_time",
    "install_seconds": "install_time",
    "upload_seconds": "upload_time",
}
_CAPACITIES: Final = {"outbox_messages": "outbox_capacity", "cached_id_tags": "cache_capacity"}
"""Keys of a fleet file, and the fields of a `Template` that they fill."""
_DAY: Final = 24 * 60 * 60.0

_SAMPLES: Final = (1, 1_000_000)
"""The first charge point, and the last of a large fleet, for whom formats are tried out."""
_LONGEST_KEY: Final = 50
"""Characters (core 7.29)."""
_ID_TAG: Final = 20
"""Characters (core 7.28)."""
_MOST_ID_TAGS: Final = 10_000_000
_TRIED_ID_TAGS: Final = 1000

_FLAT: Final = (1.0,) * HOURS
_STANDARD_KEYS: Final = {key.casefold(): key.value for key in Key}

_AC_POWER: Final = 22.0
_DC_POWER: Final = 150.0
"""kW."""
_KILO: Final = 1000.0
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class FleetSource:
    """A fleet file and the CSV files that it names, as texts: all that another host needs for the same fleet.

    Args:
        text: the fleet file's.
        name: its name, for messages.
        folder: where it is. Certificates, keys and CA files with relative paths are looked for there.
        files: the texts of the CSV files, by their names as they stand in the fleet file.
    """

    text: str = field(repr=False)
    name: str
    folder: str
    files: Mapping[str, str] = field(repr=False)

    def parse(self, base: Template | None = None, identity_format: str = "CP{:06d}") -> FleetFile:
        """Return the fleet; see `parse_fleet`.

        Raises:
            InvalidFleetFile: with one line that says where the mistake is.
        """
        return parse_fleet(
            self.text, self.name, Path(self.folder), self.files.__getitem__, base=base, identity_format=identity_format
        )


def load_fleet_file(path: Path, *, base: Template | None = None, identity_format: str = "CP{:06d}") -> FleetFile:
    """Return the fleet that a file describes, for a process on the same host; see `parse_fleet`.

    Raises:
        InvalidFleetFile: with one line that says where the mistake is.
    """
    source = read_fleet_file(path, base=base, identity_format=identity_format)
    fleet = source.parse(base, identity_format)
    check_lists(fleet, source.name)
    check_paths(fleet, source.name)
    return fleet


def read_fleet_file(path: Path, *, base: Template | None = None, identity_format: str = "CP{:06d}") -> FleetSource:
    """Return a fleet file and the CSV files that it names, read once; what they say has been checked.

    Raises:
        InvalidFleetFile: with one line that says where the mistake is.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidFleetFile(f"{path}: {why(error)}") from None
    except UnicodeDecodeError:
        raise InvalidFleetFile(f"{path}: is not UTF-8") from None
    files: dict[str, str] = {}

    def read(name: str) -> str:
        if name not in files:
            files[name] = (path.parent / name).read_text(encoding="utf-8-sig")
        return files[name]

    parse_fleet(text, path.name, path.parent, read, base=base, identity_format=identity_format)
    return FleetSource(text, path.name, str(path.parent.absolute()), files)


def parse_fleet(
    text: str,
    name: str,
    folder: Path,
    read: Read,
    *,
    base: Template | None = None,
    identity_format: str = "CP{:06d}",
) -> FleetFile:
    """Return the fleet that a text describes, without a look at the disk.

    Args:
        text: TOML, as in `docs/reference/fleet-files.md`.
        name: of the file, for messages.
        folder: of the file, for paths of certificates, keys and CA files.
        read: gives the texts of CSV files.
        base: the make that the options come to; a population changes what it names, and what belongs to it.
        identity_format: of populations without one of their own.

    Raises:
        InvalidFleetFile: with one line that says where the mistake is.
    """
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise InvalidFleetFile(f"{name}: is nested too deep") from None
    except ValueError as error:
        # Also what int() and date() have to say about a value.
        raise InvalidFleetFile(f"{name}: {error}") from None
    return _Parser(name, folder, read, base or Template(), identity_format).fleet(values)


class _Parser:
    """Reads one fleet file."""

    def __init__(self, name: str, folder: Path, read: Read, base: Template, identity_format: str) -> None:
        self._name = name
        self._folder = folder
        self._read = read
        self._base = base
        self._identity_format = identity_format

    def fleet(self, values: Mapping[str, object]) -> FleetFile:
        root = Table(values, self._name, keys=("populations",))
        tables = root.tables("populations", POPULATION_KEYS)
        if not tables:
            raise root.mistake("populations", "is missing: a fleet needs at least one [[populations]]")
        populations = tuple(self._population(table) for table in tables)
        _check_together(tables, populations)
        return FleetFile(populations)

    def _population(self, table: Table) -> Population:
        name = table.text("name", longest=50)
        table.refuse_both("weight", "count")
        count = table.integer("count", least=1, most=100_000_000) if "count" in table else None
        weight = None if count else table.number("weight", above=0, most=1e9, default=1.0)
        identity_format = self._format_of_identities(table)
        identities = [identity_format.format(number) for number in _SAMPLES]
        credentials = credentials_of(table, self._folder, self._read, identities)
        charging = self._charging(table)
        misbehaviour, clock_error = _misbehaviour(table)
        make = self._make(table, identities, credentials, clock_error)
        return Population(name, weight, count, identity_format, make, credentials, charging, misbehaviour)

    def _format_of_identities(self, table: Table) -> str:
        text = table.text("identity_format", longest=255, default=self._identity_format)
        try:
            return identity_format(text)
        except ArgumentTypeError as error:
            raise table.mistake("identity_format", f"{error}") from None

    # -- what they are ------------------------------------------------------------------------

    def _make(
        self, table: Table, identities: list[str], credentials: Credentials | None, clock_error: float
    ) -> Template:
        base = self._base
        fields: dict[str, Any] = {
            "vendor": table.text("vendor", longest=20, default=base.vendor),
            "model": table.text("model", longest=20, default=base.model),
            "firmware_version": table.text("firmware_version", longest=50, default=base.firmware_version),
            "connectors": table.integer("connectors", least=1, most=100, default=base.connectors),
            "security_profile": credentials.profile if credentials else 0,
            "clock_error": clock_error,
        }
        for key, longest in _FORMATS.items():
            if key in table:
                fields[key] = table.format(key, longest=longest, identities=identities)
        fields |= _electrical(table) | _times_and_capacities(table)
        configuration = table.table("configuration", None)
        vendor_keys = table.table("vendor_keys", None)
        settings = _settings(configuration) if configuration else {}
        for key in settings:
            if configuration and key.casefold() not in _STANDARD_KEYS:
                what = "is no key of the standard; the vendor's own belong to vendor_keys"
                raise configuration.unknown(key, _STANDARD_KEYS.values(), what)
        more = _settings(vendor_keys) if vendor_keys else {}
        try:
            make = replace(
                base,
                **fields,
                settings=tuple({**dict(base.settings), **settings}.items()),
                vendor_keys=tuple(more.items()),
            )
        except InvalidSetting as error:
            # It begins with the key, in the standard's spelling.
            key, _, what = f"{error}".partition(": ")
            if configuration and key.casefold() in map(str.casefold, settings):
                raise configuration.mistake(key, what) from None
            raise (vendor_keys or table).mistake(key, what) from None
        return _with_reboots(table, make) if "reboot_required" in table else make

    # -- what happens at them -----------------------------------------------------------------

    def _charging(self, table: Table) -> ChargingBehaviour | None:
        charging = table.table("charging", CHARGING_KEYS)
        if charging is None:
            return None
        energy = duration = None
        if "energy_kwh" in charging:
            energy = charging.distribution("energy_kwh", least=0.001, most=10_000, scale=_KILO)
        if "minutes" in charging:
            duration = charging.distribution("minutes", least=0.01, most=100_000, scale=_MINUTE)
        return ChargingBehaviour(
            arrivals=charging.number("arrivals_per_day", above=0, most=100_000),
            id_tags=self._id_tags(charging),
            vehicles=_vehicles(charging),
            energy=energy,
            duration=duration,
            remote_starts=charging.number("remote_starts", most=1, default=0.0),
            day_profile=charging.numbers("day_profile", HOURS, most=1e9) if "day_profile" in charging else _FLAT,
            acceleration=charging.number("acceleration", above=0, most=10_000, default=1.0),
        )

    def _id_tags(self, charging: Table) -> IdTags:
        if "id_tags" in charging and not charging.is_table("id_tags"):
            return self._listed_id_tags(charging)
        table = charging.table("id_tags", ("format", "count")) or Table({}, self._name, keys=())
        count = table.integer("count", least=1, most=_MOST_ID_TAGS, default=1000)
        text = table.text("format", longest=255, default="TAG{:07d}")
        tried = [*range(1, min(count, _TRIED_ID_TAGS) + 1), *(10**n for n in range(3, 8) if 10**n <= count), count]
        seen: dict[str, int] = {}
        for number in tried:
            try:
                id_tag = text.format(number)
            except FORMAT_ERRORS as error:
                raise table.mistake("format", f"{text!r} is not a format of id tags: {error}") from None
            flaw = text_flaw(id_tag, _ID_TAG)
            if flaw:
                raise table.mistake("format", f"makes {id_tag!r}, which {flaw}")
            # Case does not count (core 7.28).
            if seen.setdefault(id_tag.casefold(), number) != number:
                raise table.mistake("format", f"{text!r} gives several drivers the same id tag")
        return IdTags(text, count)

    def _listed_id_tags(self, charging: Table) -> IdTags:
        listed: dict[str, str] = {}
        for where, (id_tag,) in rows(self._read, charging, "id_tags", ("id_tag",)):
            flaw = text_flaw(id_tag, _ID_TAG)
            if flaw:
                raise InvalidFleetFile(f"{where}: the id tag {flaw}")
            if id_tag.casefold() in listed:
                raise InvalidFleetFile(f"{where}: the id tag {id_tag!r} is there twice")
            listed[id_tag.casefold()] = id_tag
        return IdTags("", len(listed), tuple(listed.values()))


def _with_reboots(table: Table, make: Template) -> Template:
    """Return the make with the keys whose change waits for a reboot (core 7.22)."""
    names = table.texts("reboot_required", longest=_LONGEST_KEY)
    for name in names:
        if name.casefold() in _AT_ONCE:
            what = f"{name}: takes effect with the next connection ({_AT_ONCE[name.casefold()]})"
            raise table.mistake("reboot_required", what)
    try:
        return replace(make, reboot_required=frozenset(names))
    except InvalidSetting as error:
        raise table.mistake("reboot_required", f"{error}") from None


def _times_and_capacities(table: Table) -> dict[str, Any]:
    times = {name: table.number(key, least=0.0, most=_DAY) for key, name in _TIMES.items() if key in table}
    capacities = {name: table.integer(key, least=10, most=100_000) for key, name in _CAPACITIES.items() if key in table}
    return {**times, **capacities}


def _electrical(table: Table) -> dict[str, Any]:
    """Return the fields of a `Template` for current, power and plug."""
    is_dc = table.choice("current", "AC", "DC") == "DC"
    if is_dc and "phases" in table:
        raise table.mistake("phases", 'is for current = "AC" only')
    phases = table.integer("phases", least=1, most=3, default=3)
    if phases == 2:
        raise table.mistake("phases", "must be 1 or 3, not 2")
    cable = table.choice("cable", *(("fixed", "socket") if is_dc else ("socket", "fixed")))
    if is_dc and cable == "socket":
        raise table.mistake("cable", 'must be "fixed" with current = "DC"')
    return {
        "is_dc": is_dc,
        "phases": phases,
        "power": table.number("power_kw", above=0, most=10_000, default=_DC_POWER if is_dc else _AC_POWER) * _KILO,
        # 0 takes what is usual.
        "voltage": table.number("voltage", least=50, most=2000) if "voltage" in table else 0.0,
        "has_cable_lock": cable == "socket",
    }


def _settings(table: Table) -> dict[str, str]:
    settings = table.settings()
    seen: set[str] = set()
    for key in settings:
        folded = key.casefold()
        if folded in _SAID_ELSEWHERE:
            raise table.mistake(key, f"is set by {_SAID_ELSEWHERE[folded]}")
        if folded in seen:
            raise table.mistake(key, "is there twice: case does not count")
        seen.add(folded)
    return settings


def _vehicles(charging: Table) -> tuple[VehicleModel, ...]:
    models = []
    for table in charging.tables("vehicles", VEHICLE_KEYS) or [Table({}, "", keys=())]:
        soc = Uniform(10.0, 60.0)
        vehicle = Vehicle(
            battery=table.number("battery_kwh", above=0, most=10_000, default=60.0) * _KILO,
            target_soc=table.number("target_soc", above=0, most=100, default=100.0),
            max_ac_power=table.number("max_ac_kw", above=0, most=10_000, default=11.0) * _KILO,
            max_dc_power=table.number("max_dc_kw", above=0, most=10_000, default=120.0) * _KILO,
            phases=table.integer("phases", least=1, most=3, default=3),
        )
        models.append(
            VehicleModel(
                table.number("weight", above=0, most=1e9, default=1.0),
                vehicle,
                table.distribution("arrival_soc", least=0, most=100) if "arrival_soc" in table else soc,
            )
        )
    return tuple(models)


def _misbehaviour(table: Table) -> tuple[Misbehaviour | None, float]:
    """Return what they do wrong, and by how many seconds their clocks are off."""
    misbehaviour = table.table("misbehaviour", MISBEHAVIOUR_KEYS)
    if misbehaviour is None:
        return None, 0.0
    rates = [(each, misbehaviour.number(each.value, most=3600, default=0.0)) for each in Misdeed]
    skew = misbehaviour.number("clock_skew_hours", least=-100_000, most=100_000, default=0.0)
    return Misbehaviour(tuple((each, rate) for each, rate in rates if rate)), skew * _HOUR


def _check_together(tables: list[Table], populations: tuple[Population, ...]) -> None:
    """Find what the populations contradict each other in."""
    names: dict[str, int] = {}
    for place, (table, population) in enumerate(zip(tables, populations, strict=True), 1):
        first = names.setdefault(population.name, place)
        if first != place:
            raise table.mistake("name", f"is that of populations[{first}], too")
    counted = next((place for place, each in enumerate(populations, 1) if each.count is not None), None)
    for table, population in zip(tables, populations, strict=True):
        if counted is not None and population.count is None:
            raise table.mistake("count", f"is missing: populations[{counted}] has one, so all need one")
    for (place, one), (other_place, other) in combinations(enumerate(populations, 1), 2):
        numbers = collision(one.identity_format, other.identity_format)
        if numbers:
            identity = one.identity(numbers[0])
            raise tables[other_place - 1].mistake(
                "identity_format",
                f"makes {identity!r} of number {numbers[1]}, and populations[{place}] of number {numbers[0]}",
            )
