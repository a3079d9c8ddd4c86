"""Fleet files: what they say, and one line with file and key for every mistake in them."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.configuration import Configuration, Key
from ampswarm.charge_point.template import Template
from ampswarm.distribution import Exponential, Fixed, LogNormal, Normal, Uniform
from ampswarm.load.fleet_file import (
    CHARGING_KEYS,
    MISBEHAVIOUR_KEYS,
    POPULATION_KEYS,
    VEHICLE_KEYS,
    FleetFile,
    FleetSource,
    InvalidFleetFile,
    load_fleet_file,
    parse_fleet,
    read_fleet_file,
)
from ampswarm.load.fleet_security import SECURITY_KEYS
from ampswarm.load.fleet_table import DISTRIBUTION_KEYS
from ampswarm.load.misbehaviour import Misbehaviour, Misdeed
from ampswarm.ocppj.schemas import Direction, validate
from tests.processes import ROOT

SHIPPED = sorted((ROOT / "locustfiles" / "fleets").glob("*.toml"))
NAMED = '[[populations]]\nname = "city"\n'
CSV = {
    "passwords.csv": "identity,password\nCP000001,0123456789abcdef\nCP000002,fedcba9876543210\n",
    "tags.csv": "id_tag\nA1\nB2\n",
    "certs.csv": "identity,certificate,private_key\nCP000001,a.pem,/keys/a.pem\n",
}


def parse(text: str, files: dict[str, str] | None = None, folder: str = "/fleets", **more: Template | str) -> FleetFile:
    return FleetSource(text, "city.toml", folder, CSV if files is None else files).parse(**more)  # type: ignore[arg-type]


def mistake(text: str, files: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidFleetFile) as caught:
        parse(text, files)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_fleets_can_be_used(path: Path) -> None:
    """What a user tries first: they load, and every charge point's boot, password and session can be made."""
    fleet = load_fleet_file(path)
    numbers = random.Random(1)
    identities = set()
    for number in range(1, 1001):
        population = fleet.population_of(number)
        identity = population.identity(number)
        identities.add(identity)
        validate("BootNotification", Direction.REQ, population.make.boot_notification(identity))
        if population.credentials is not None:
            assert population.credentials.password_of(identity)
        if population.charging is not None:
            assert population.charging.next_arrival(0.0, numbers) > 0
            assert 0 <= population.charging.draw_vehicle(numbers).soc <= 100
            assert 1 <= len(population.charging.id_tags.draw(numbers)) <= 20
    assert len(identities) == 1000


def test_there_are_four_shipped_fleets() -> None:
    """A test over no files would pass."""
    assert [path.stem for path in SHIPPED] == ["city", "depot", "highway", "trouble"]


def test_the_trouble_fleet_shows_every_misdeed_and_the_city_none() -> None:
    """Whoever measures a city measures healthy traffic; what a fleet may do wrong is there to copy."""
    fleets = {path.stem: load_fleet_file(path).populations for path in SHIPPED}
    assert [each.name for each in fleets["city"] if each.misbehaviour or each.make.clock_error] == []
    shown = {misdeed for each in fleets["trouble"] if each.misbehaviour for misdeed, _ in each.misbehaviour.rates}
    assert shown == set(Misdeed)
    assert [each.make.clock_error for each in fleets["trouble"] if each.make.clock_error] == [-3600]


def test_every_key_is_documented() -> None:
    """What is not in the reference does not exist for a user."""
    reference = (ROOT / "docs" / "reference" / "fleet-files.md").read_text()
    keys = [*POPULATION_KEYS, *SECURITY_KEYS, *CHARGING_KEYS, *VEHICLE_KEYS, *MISBEHAVIOUR_KEYS, *DISTRIBUTION_KEYS]
    assert [key for key in keys if f"`{key}`" not in reference] == []


def test_the_example_of_the_reference_can_be_used() -> None:
    """What a user copies first."""
    reference = (ROOT / "docs" / "reference" / "fleet-files.md").read_text()
    example = reference.split("```toml\n")[1].split("```")[0]
    assert [each.name for each in parse(example).populations] == ["kerb", "motorway"]


def test_a_name_is_enough() -> None:
    """Everything else has a default: an AC charge point of 22 kW, without EVs, passwords and misdeeds."""
    (population,) = parse(NAMED).populations
    assert population.make == Template()
    assert population.name == "city"
    assert population.weight == 1
    assert population.count is None
    assert population.identity_format == "CP{:06d}"
    assert (population.credentials, population.charging, population.misbehaviour) == (None, None, None)


def test_a_population_begins_with_the_options() -> None:
    """--connectors, --call-timeout and --identity-format hold wherever a population says nothing else."""
    base = Template(connectors=4, call_timeout=7.0, settings=(("BlinkRepeat", "1"),))
    text = NAMED + '[[populations]]\nname = "other"\nconnectors = 2\nconfiguration = {HeartbeatInterval = 5}\n'
    city, other = parse(text, base=base, identity_format="X{}").populations
    assert (city.make.connectors, city.make.call_timeout) == (4, 7.0)
    assert (other.make.connectors, other.make.call_timeout) == (2, 7.0)
    assert other.make.settings == (("BlinkRepeat", "1"), ("HeartbeatInterval", "5"))
    assert city.identity(12) == other.identity(12) == "X12"


def test_what_a_population_is_goes_into_its_template() -> None:
    """Units are kW in the file and W inside; identities go where the format says."""
    (population,) = parse(
        NAMED
        + """
        vendor = "V"
        model = "M"
        firmware_version = "9"
        serial_number = "S-{identity}"
        iccid = "8949{identity}"
        imsi = "26201"
        meter_type = "T"
        meter_serial_number = "MS{identity}"
        connectors = 3
        power_kw = 7.4
        phases = 1
        voltage = 240
        cable = "fixed"
        identity_format = "C-{:03d}"
        [populations.configuration]
        HeartbeatInterval = 60
        LocalPreAuthorize = true
        MeterValuesSampledData = ["Voltage", "Current.Import"]
        CpoName = "Operator"
        [populations.vendor_keys]
        Led = 0.5
        """
    ).populations
    make = population.make
    assert (make.power, make.phases, make.voltage, make.is_dc, make.has_cable_lock) == (7400, 1, 240, False, False)
    assert make.boot_notification(population.identity(7)) == {
        "chargePointVendor": "V",
        "chargePointModel": "M",
        "chargePointSerialNumber": "S-C-007",
        "firmwareVersion": "9",
        "iccid": "8949C-007",
        "imsi": "26201",
        "meterType": "T",
        "meterSerialNumber": "MSC-007",
    }
    configuration = Configuration(make.defaults)
    assert configuration.integer(Key.NUMBER_OF_CONNECTORS) == 3
    assert configuration.integer(Key.HEARTBEAT_INTERVAL) == 60
    assert configuration.boolean(Key.LOCAL_PRE_AUTHORIZE)
    assert configuration.text(Key.METER_VALUES_SAMPLED_DATA) == "Voltage,Current.Import"
    assert configuration.text("Led") == "0.5"


def test_dc_has_a_fixed_cable_and_more_power() -> None:
    """A DC charge point with the defaults of an AC one would be nothing that exists."""
    (population,) = parse(NAMED + 'current = "DC"').populations
    make = population.make
    assert (make.is_dc, make.power, make.has_cable_lock, make.supply.phases) == (True, 150_000, False, 1)


def test_charging_is_read_in_the_units_of_the_standard() -> None:
    """Wh of kWh, seconds of minutes; everything that a session is drawn from."""
    (population,) = parse(
        NAMED
        + """
        [populations.charging]
        arrivals_per_day = 4
        energy_kwh = {distribution = "lognormal", median = 18, sigma = 0.6, max = 80}
        minutes = 90
        id_tags = {format = "T{}", count = 3}
        remote_starts = 0.25
        day_profile = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0.5]
        acceleration = 60
        [[populations.charging.vehicles]]
        weight = 2
        battery_kwh = 40
        arrival_soc = {distribution = "uniform", min = 10, max = 20}
        target_soc = 80
        max_ac_kw = 7.4
        max_dc_kw = 50
        phases = 1
        [[populations.charging.vehicles]]
        """
    ).populations
    charging = population.charging
    assert charging is not None
    assert charging.arrivals == 4
    assert charging.energy == LogNormal(18_000, 0.6, 1, 80_000)
    assert charging.duration == Fixed(5400)
    assert (charging.id_tags.format, charging.id_tags.count) == ("T{}", 3)
    assert charging.remote_starts == 0.25
    assert charging.day_profile == (1.0,) * 12 + (2.0,) * 11 + (0.5,)
    assert charging.acceleration == 60
    first, second = charging.vehicles
    assert (first.weight, second.weight) == (2, 1)
    assert first.soc == Uniform(10, 20)
    vehicle = first.vehicle
    assert (vehicle.battery, vehicle.target_soc, vehicle.max_ac_power, vehicle.max_dc_power, vehicle.phases) == (
        40_000, 80, 7400, 50_000, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("5", Fixed(5_000)),
        ('{distribution = "fixed", value = 5}', Fixed(5_000)),
        ('{distribution = "uniform", min = 1, max = 2.5}', Uniform(1_000, 2_500)),
        ('{distribution = "normal", mean = 20, sigma = 5}', Normal(20_000, 5_000, 1, 10_000_000)),
        ('{distribution = "lognormal", median = 20, sigma = 1, min = 2}', LogNormal(20_000, 1, 2_000, 10_000_000)),
        ('{distribution = "exponential", mean = 20, max = 50}', Exponential(20_000, 1, 50_000)),
    ],
)
def test_every_distribution_can_be_written(toml: str, expected: object) -> None:
    """In kWh, and bounded by what makes sense even where the file gives no bounds."""
    charging = parse(f"{NAMED}charging = {{arrivals_per_day = 1, energy_kwh = {toml}}}").populations[0].charging
    assert charging is not None
    assert charging.energy == expected


def test_misdeeds_have_rates_and_clocks_are_wrong() -> None:
    """Rates of 0 are none; the clock's error is part of the make, in seconds."""
    text = NAMED + "misbehaviour = {half_open = 0.5, flood = 2, malformed = 0, clock_skew_hours = -1.5}"
    (population,) = parse(text).populations
    assert population.misbehaviour == Misbehaviour(((Misdeed.HALF_OPEN, 0.5), (Misdeed.FLOOD, 2.0)))
    assert population.make.clock_error == -5400


def test_a_clock_that_is_off_is_misbehaviour_without_a_misdeed() -> None:
    """Its traffic would go into the healthy rows if nothing stood between it and them."""
    (population,) = parse(NAMED + "misbehaviour = {clock_skew_hours = 2}").populations
    assert (population.misbehaviour, population.make.clock_error) == (Misbehaviour(()), 7200)


def test_passwords_come_from_a_template() -> None:
    """And never show in a log."""
    text = NAMED + '[populations.security]\nprofile = 2\npassword = "pw-{identity}-0123456789"\nca_file = "ca.pem"'
    (population,) = parse(text).populations
    credentials = population.credentials
    assert credentials is not None
    assert population.make.security_profile == credentials.profile == 2
    assert credentials.password_of("CP000007") == "pw-CP000007-0123456789"
    assert credentials.certificate_of("CP000007") is None
    assert credentials.ca_file == Path("/fleets/ca.pem")
    assert "0123456789" not in repr(population)


def test_passwords_come_from_a_csv_file() -> None:
    """As a central system exports them, with a byte order mark, other line ends, quotes and a blank line."""
    text = NAMED + '[populations.security]\nprofile = 1\npasswords = "p.csv"'
    rows = '\ufeffidentity,password\r\nCP000001,0123456789abcdef\r\n\r\n"CP000002","fedcba,9876543210"\r\n'
    credentials = parse(text, {"p.csv": rows}).populations[0].credentials
    assert credentials is not None
    assert credentials.password_of("CP000001") == "0123456789abcdef"
    assert credentials.password_of("CP000002") == "fedcba,9876543210"
    assert credentials.password_of("CP000003") is None
    assert "0123456789abcdef" not in repr(credentials)


@given(
    st.dictionaries(
        st.text("AZ09-_ äé", min_size=1, max_size=20).filter(lambda text: text == text.strip()),
        st.text('az09,;"|', min_size=16, max_size=40),
        min_size=1,
        max_size=20,
    )
)
def test_any_password_survives_the_csv_file(passwords: dict[str, str]) -> None:
    """Commas, semicolons and quotes in passwords are what generators of passwords like."""
    quoted = {name: password.replace('"', '""') for name, password in passwords.items()}
    rows = "".join(f'{name},"{password}"\n' for name, password in quoted.items())
    text = NAMED + 'security = {profile = 1, passwords = "p.csv"}'
    credentials = parse(text, {"p.csv": "identity,password\n" + rows}).populations[0].credentials
    assert credentials is not None
    assert passwords == {name: credentials.password_of(name) for name in passwords}


def test_certificates_come_from_paths_or_a_csv_file() -> None:
    """Relative ones begin at the fleet file's folder, whose braces are no place for the identity."""
    text = NAMED + (
        '[populations.security]\nprofile = 3\ncertificate = "{identity}.pem"\nprivate_key = "/keys/{identity}-key.pem"'
    )
    templated = parse(text, folder="/a{b}").populations[0].credentials
    assert templated is not None
    assert templated.certificate_of("CP1") == (Path("/a{b}/CP1.pem"), Path("/keys/CP1-key.pem"))
    listed = parse(NAMED + 'security = {profile = 3, certificates = "certs.csv"}').populations[0].credentials
    assert listed is not None
    assert listed.certificate_of("CP000001") == (Path("/fleets/a.pem"), Path("/keys/a.pem"))
    assert listed.certificate_of("CP000002") is None


def test_firmware_is_trusted_if_the_manufacturer_s_root_signed_for_it() -> None:
    """Whitepaper L01: one more path, which begins at the fleet file's folder like the others."""
    credentials = parse(NAMED + 'security = {manufacturer_ca_file = "maker.pem"}').populations[0].credentials
    assert credentials is not None
    assert (credentials.profile, credentials.manufacturer_ca_file) == (0, Path("/fleets/maker.pem"))
    assert credentials.ca_file is None


def test_keys_that_require_a_reboot_can_be_named_in_any_case() -> None:
    """Core 7.22 and 7.17: standard keys and the vendor's own."""
    text = NAMED + 'reboot_required = ["HEARTBEATINTERVAL", "Led"]\nvendor_keys = {Led = 1}\n'
    named, other = parse(text + '[[populations]]\nname = "other"\n').populations
    assert named.make.defaults.reboot_required == {"HeartbeatInterval", "Led"}
    assert other.make.defaults.reboot_required == frozenset()


def test_id_tags_come_from_a_csv_file() -> None:
    """Those that the central system under test knows."""
    charging = parse(NAMED + 'charging = {arrivals_per_day = 1, id_tags = "tags.csv"}').populations[0].charging
    assert charging is not None
    numbers = random.Random(1)
    assert {charging.id_tags.draw(numbers) for _ in range(50)} == {"A1", "B2"}


KEYS = (
    "weight", "count", "identity_format", "vendor", "serial_number", "power_kw", "phases", "cable", "configuration",
    "security", "profile", "password", "passwords", "certificate", "private_key", "charging", "arrivals_per_day",
    "energy_kwh", "distribution", "min", "mean", "sigma", "id_tags", "format", "vehicles", "day_profile",
    "misbehaviour", "half_open", "clock_skew_hours", "HeartbeatInterval",
)  # fmt: skip


def toml(value: object) -> str:
    match value:
        case None:
            return "1979-05-27"
        case str():
            return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
        case bool():
            return str(value).lower()
        case list():
            return "[" + ", ".join(toml(each) for each in value) + "]"
        case dict():
            return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
        case _:
            return repr(value)


SECURITY = NAMED + "[populations.security]\n"
CHARGING = NAMED + "[populations.charging]\narrivals_per_day = 1\n"
TWO = NAMED + '[[populations]]\nname = "other"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "Invalid value (at end of document)"),
        (NAMED + "x = 1\nx = 2", "Cannot overwrite a value (at end of document)"),
        (NAMED + "name 1", "Expected '=' after a key in a key/value pair (at line 3, column 6)"),
        ("x = " + "[" * 5000, "is nested too deep"),
        ("", "populations: is missing: a fleet needs at least one [[populations]]"),
        ("populations = []", "populations: is missing: a fleet needs at least one [[populations]]"),
        ("populations = 3", "populations: must be an array of tables, [[populations]], not 3"),
        ("[populations]", "populations: must be an array of tables, [[populations]], not a table"),
        ("populations = [1]", "populations: must be an array of tables, [[populations]], not a list"),
        ("[[population]]", "population: unknown key; did you mean populations?"),
        ('"a\\nb" = 1', "'a\\nb': unknown key; known are populations"),
        ("[[populations]]", "populations[1].name: is missing"),
        ("[[populations]]\nname = 3", "populations[1].name: must be a text, not 3"),
        ('[[populations]]\nname = ""', "populations[1].name: must not be empty"),
        ('[[populations]]\nname = "a\\tb"', "populations[1].name: must not hold control characters"),
        ("[[populations]]\nname = 1979-05-27", "populations[1].name: must be a text, not a date or time"),
        (TWO + "count = 5", "populations[1].count: is missing: populations[2] has one, so all need one"),
        (NAMED + NAMED, "populations[2].name: is that of populations[1], too"),
        (
            TWO + 'identity_format = "CP1{:05d}"',
            "populations[2].identity_format: makes 'CP100001' of number 1, and populations[1] of number 100001",
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(text: str, said: str) -> None:
    """Found before the first connection; a user can go straight to the line."""
    assert mistake(text) == f"city.toml: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('vendor = "123456789012345678901"', "vendor: has 21 characters, of which 20 are allowed"),
        ('model = ""', "model: must not be empty"),
        ("firmware_version = [1]", "firmware_version: must be a text, not a list"),
        ("connectors = 0", "connectors: must be 1 to 100, not 0"),
        ("connectors = 2.0", "connectors: must be a whole number, not 2.0"),
        ("connectors = true", "connectors: must be a whole number, not true"),
        ("connectors = 99999999999999999", "connectors: must be 1 to 100, not a number of more than 15 digits"),
        ("power_kw = -3", "power_kw: must be above 0, not -3"),
        ("power_kw = 0.0", "power_kw: must be above 0, not 0.0"),
        ("power_kw = 22000", "power_kw: must be at most 10000, not 22000"),
        ('power_kw = "22"', "power_kw: must be a number, not '22'"),
        (f'power_kw = "{"x" * 41}"', f"power_kw: must be a number, not '{'x' * 39}…'"),
        ("power_kw = nan", "power_kw: must be a number, not nan"),
        ("power_kw = inf", "power_kw: must be at most 10000, not inf"),
        ("power_kw = false", "power_kw: must be a number, not false"),
        ("powr_kw = 3", "powr_kw: unknown key; did you mean power_kw?"),
        ("power = 3", "power: unknown key; did you mean power_kw?"),
        ('current = "ac"', 'current: must be "AC" or "DC", not \'ac\''),
        ("current = []", 'current: must be "AC" or "DC", not a list'),
        ('current = "DC"\nphases = 3', 'phases: is for current = "AC" only'),
        ("phases = 2", "phases: must be 1 or 3, not 2"),
        ("phases = 4", "phases: must be 1 to 3, not 4"),
        ("voltage = 12", "voltage: must be 50 to 2000, not 12"),
        ('current = "DC"\ncable = "socket"', 'cable: must be "fixed" with current = "DC"'),
        ('cable = "none"', 'cable: must be "socket" or "fixed", not \'none\''),
        ("weight = 0", "weight: must be above 0, not 0"),
        ("count = 0", "count: must be 1 to 100000000, not 0"),
        ("weight = 1\ncount = 1", "weight: cannot be given together with count"),
        (
            'identity_format = "CP"',
            (
                "identity_format: 'CP' gives several charge points the same identity: it needs a place for the "
                "whole number, as in CP{:06d}"
            ),
        ),
        (
            'identity_format = "{:q}"',
            "identity_format: '{:q}' is not a format of identities: Unknown format code 'q' for object of type 'int'",
        ),
        ('serial_number = "{number}"', "serial_number: cannot fill in {number}, only {identity}"),
        ('serial_number = "{"', "serial_number: is not a format: Single '{' encountered in format string"),
        ('iccid = "{identity:d}"', "iccid: is not a format: Unknown format code 'd' for object of type 'str'"),
        (
            'iccid = "894900000000{identity}"',
            "iccid: makes of 'CP1000000' a text that has 21 characters, of which 20 are allowed",
        ),
        ("configuration = 3", "configuration: must be a table, not 3"),
        (
            "configuration = {HeartbeatIntervall = 3}",
            "configuration.HeartbeatIntervall: unknown key; did you mean HeartbeatInterval?",
        ),
        (
            "configuration = {x = 3}",
            "configuration.x: is no key of the standard; the vendor's own belong to vendor_keys",
        ),
        (
            'current = "DC"\nconfiguration = {ConnectorSwitch3to1PhaseSupported = true}',
            "configuration.ConnectorSwitch3to1PhaseSupported: this charge point has no such standard key",
        ),
        (
            "configuration = {heartbeatinterval = 0}",
            "configuration.HeartbeatInterval: not an integer from 1 to 86400: '0'",
        ),
        (
            "configuration = {HeartbeatInterval = {}}",
            "configuration.HeartbeatInterval: must be a text, a number, true, false or a list of texts, not a table",
        ),
        (
            "configuration = {HeartbeatInterval = 1, heartbeatInterval = 2}",
            "configuration.heartbeatInterval: is there twice: case does not count",
        ),
        ("configuration = {SecurityProfile = 1}", "configuration.SecurityProfile: is set by security.profile"),
        ('configuration = {AuthorizationKey = "x"}', "configuration.AuthorizationKey: is set by security.password"),
        ("vendor_keys = {NumberOfConnectors = 1}", "vendor_keys.NumberOfConnectors: is set by connectors"),
        (
            "vendor_keys = {BlinkRepeat = 1}",
            "vendor_keys.BlinkRepeat: no key of the vendor's own, there is one of this name",
        ),
        (
            'identity_format = "A:{}"\nsecurity = {profile = 1, password = "0123456789abcdef"}',
            "security.profile: 1 sends the identity as a user name, which cannot hold a colon (RFC 7617)",
        ),
        ("charging = {}", "charging.arrivals_per_day: is missing"),
        ("misbehaviour = {flod = 1}", "misbehaviour.flod: unknown key; did you mean flood?"),
        ("misbehaviour = {flood = -1}", "misbehaviour.flood: must be 0 to 3600, not -1"),
        (
            "misbehaviour = {clock_skew_hours = 1e6}",
            "misbehaviour.clock_skew_hours: must be -100000 to 100000, not 1000000.0",
        ),
        ("reboot_required = true", "reboot_required: must be a list of texts, not true"),
        ("reboot_required = [3]", "reboot_required[1]: must be a text, not 3"),
        (
            'reboot_required = ["Led"]',
            "reboot_required: Led: no key that a reboot could make effective",
        ),
        (
            'reboot_required = ["BlinkRepeat", "NumberOfConnectors"]',
            "reboot_required: NumberOfConnectors: no key that a reboot could make effective",
        ),
        (
            'reboot_required = ["SecurityProfile"]',
            "reboot_required: SecurityProfile: takes effect with the next connection (whitepaper A05)",
        ),
    ],
)
def test_a_mistake_in_a_population_names_its_key(text: str, said: str) -> None:
    """Units, ranges and spellings: what it must be, and what it is."""
    assert mistake(NAMED + text) == f"city.toml: populations[1].{said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profil = 1", "profil: unknown key; did you mean profile?"),
        ("profile = 4", "profile: must be 0 to 3, not 4"),
        ("profile = 1", "profile: 1 needs password or passwords"),
        ("profile = 3", "profile: 3 needs certificate and private_key, or certificates"),
        ('password = "x"\npasswords = "y"', "passwords: cannot be given together with password"),
        ('certificates = "c"\nprivate_key = "y"', "certificates: cannot be given together with private_key"),
        ('certificate = "x"', "private_key: is missing"),
        ('private_key = "x"', "certificate: is missing"),
        (
            'password = "short{identity}"',
            "password: of 'CP000001' has 13 bytes, not 16 to 40 (whitepaper A00.FR.205)",
        ),
        ('passwords = "none.csv"', "passwords: none.csv: did not come with the fleet file"),
    ],
)
def test_a_mistake_in_credentials_names_its_key(text: str, said: str) -> None:
    """A fleet that cannot authenticate itself would only measure refusals."""
    assert mistake(SECURITY + text) == f"city.toml: populations[1].security.{said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("energy_kwh = 0", "energy_kwh: must be 0.001 to 10000, not 0"),
        ("energy_kwh = []", "energy_kwh: must be a number or a distribution, not a list"),
        (
            "energy_kwh = {}",
            "energy_kwh.distribution: is missing; known are fixed, uniform, normal, lognormal, exponential",
        ),
        (
            'energy_kwh = {distribution = "gauss"}',
            (
                "energy_kwh.distribution: unknown distribution 'gauss'; known are fixed, uniform, normal, "
                "lognormal, exponential"
            ),
        ),
        ('minutes = {distribution = "normal", median = 3}', "minutes.median: unknown key; did you mean mean?"),
        ('minutes = {distribution = "uniform", min = 3}', "minutes.max: is missing"),
        ('minutes = {distribution = "uniform", min = 3, max = 2}', "minutes.min: must not be above max, 2, but is 3"),
        (
            'minutes = {distribution = "normal", mean = 50, sigma = 1, max = 10}',
            "minutes: hardly anything of it lies between min and max",
        ),
        ('minutes = {distribution = "lognormal", median = 50, sigma = 0}', "minutes.sigma: must be above 0, not 0"),
        ("remote_starts = 30", "remote_starts: must be 0 to 1, not 30"),
        ("acceleration = 0", "acceleration: must be above 0, not 0"),
        ("day_profile = [1, 2]", "day_profile: must be a list of 24 numbers, not 2"),
        ("day_profile = 1", "day_profile: must be a list of 24 numbers, not 1"),
        (f"day_profile = {[0] * 24}", "day_profile: must not be 0 all the time"),
        (f"day_profile = {[1] * 3 + [-1] * 21}", "day_profile[4]: must be 0 to 1000000000, not -1"),
        ("id_tags = {count = 0}", "id_tags.count: must be 1 to 10000000, not 0"),
        ("id_tags = 5", "id_tags: must be a text, not 5"),
        ('id_tags = {format = "TAG"}', "id_tags.format: 'TAG' gives several drivers the same id tag"),
        (
            'id_tags = {format = "{:021d}"}',
            "id_tags.format: makes '000000000000000000001', which has 21 characters, of which 20 are allowed",
        ),
        ('id_tags = {format = "{x}"}', "id_tags.format: '{x}' is not a format of id tags: 'x'"),
        ("vehicles = [{weight = 0}]", "vehicles[1].weight: must be above 0, not 0"),
        ("vehicles = [{}, {battery = 3}]", "vehicles[2].battery: unknown key; did you mean battery_kwh?"),
        (
            "vehicles = [{x = 3}]",
            (
                "vehicles[1].x: unknown key; known are weight, battery_kwh, arrival_soc, target_soc, max_ac_kw, "
                "max_dc_kw, phases"
            ),
        ),
        ("vehicles = [{arrival_soc = 101}]", "vehicles[1].arrival_soc: must be 0 to 100, not 101"),
    ],
)
def test_a_mistake_in_charging_names_its_key(text: str, said: str) -> None:
    """Arrivals, distributions, id tags, vehicles."""
    assert mistake(CHARGING + text) == f"city.toml: populations[1].charging.{said}"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "has no rows after the one that names the columns: identity,password"),
        ("identity,password\n", "has no rows after the one that names the columns: identity,password"),
        ("CP1,0123456789abcdef\n", "line 1: must name the columns: identity,password"),
        ("identity;password\nCP1;0123456789abcdef\n", "line 1: must name the columns: identity,password"),
        ("identity,password\nCP1\n", "line 2: has 1 column instead of 2"),
        ("identity,password\n\nCP1,0123456789abcdef,x\n", "line 3: has 3 columns instead of 2"),
        ("identity,password\nCP1,\n", "line 2: password is empty"),
        ("identity,password\nCP1, 0123456789abcdef\n", "line 2: password begins or ends with a space"),
        (
            "identity,password\nCP1,0123456789abcde\n",
            "line 2: password has 15 bytes, not 16 to 40 (whitepaper A00.FR.205)",
        ),
        ('identity,password\nCP1,"0123456789abcdef\nx"\n', "line 2: password must not hold control characters"),
        ('identity,password\nCP1,"0123456789\nabcdef\n', "line 2: unexpected end of data"),
        ('identity,password\nCP1,"0123456789abcdef"x\n', "line 2: ',' expected after '\"'"),
        ("identity,password\n..,0123456789abcdef\n", "line 2: identity cannot be used: '..' cannot stand in a URL"),
        (
            "identity,password\nCP1,0123456789abcdef\nCP1,0123456789abcdef\n",
            "line 3: identity 'CP1' is there twice",
        ),
    ],
)  # fmt: skip
def test_a_bad_row_is_one_line_with_file_and_line(rows: str, said: str) -> None:
    """And never with the password in it."""
    assert f"p.csv: {said}" == mistake(NAMED + 'security = {profile = 1, passwords = "p.csv"}', {"p.csv": rows})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("id_tag\nA\na\n", "line 3: the id tag 'a' is there twice"),
        (f"id_tag\n{'x' * 21}\n", "line 2: the id tag has 21 characters, of which 20 are allowed"),
    ],
)
def test_a_bad_id_tag_is_one_line_with_file_and_line(rows: str, said: str) -> None:
    """Id tags have at most 20 characters, and their case does not count (core 7.28)."""
    text = NAMED + 'charging = {arrivals_per_day = 1, id_tags = "t.csv"}'
    assert f"t.csv: {said}" == mistake(text, {"t.csv": rows})


def test_what_was_read_can_be_sent_to_other_hosts(tmp_path: Path) -> None:
    """A worker has no such file; it gets the texts, and makes the same fleet of them."""
    (tmp_path / "sub").mkdir()
    for name, rows in CSV.items():
        (tmp_path / "sub" / name).write_text(rows)
    path = tmp_path / "fleet.toml"
    path.write_text(
        NAMED
        + """
        [populations.security]
        profile = 1
        passwords = "sub/passwords.csv"
        certificates = "sub/certs.csv"
        [populations.charging]
        arrivals_per_day = 1
        id_tags = "sub/tags.csv"
        """
    )
    source = read_fleet_file(path)
    assert {f"sub/{name}": rows for name, rows in CSV.items()} == source.files
    # Plain values: they can travel in a message.
    travelled = FleetSource(**asdict(source))
    here = parse_fleet(path.read_text(), "fleet.toml", tmp_path, lambda name: (tmp_path / name).read_text())
    path.unlink()
    for name in CSV:
        (tmp_path / "sub" / name).unlink()
    assert here == travelled.parse()


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ('security = {passwords = "none.csv"}', "security.passwords: none.csv"),
        ('security = {certificates = "none.csv"}', "security.certificates: none.csv"),
        ('charging = {arrivals_per_day = 1, id_tags = "none.csv"}', "charging.id_tags: none.csv"),
        ('security = {ca_file = "none.pem"}', "security.ca_file: {folder}/none.pem"),
        (
            'security = {certificate = "{identity}.pem", private_key = "x"}',
            "security.certificate: {folder}/CP000002.pem",
        ),
        ('security = {certificates = "certs.csv"}', "security.certificates: {folder}/a.pem"),
    ],
)
def test_a_missing_file_is_named_with_its_key(tmp_path: Path, key: str, named: str) -> None:
    """Before the first connection, not with the first TLS handshake an hour later."""
    (tmp_path / "certs.csv").write_text(CSV["certs.csv"])
    path = tmp_path / "fleet.toml"
    # Not the first charge point is the one whose certificate is looked for, but the first of its population.
    path.write_text(f'[[populations]]\nname = "a"\nweight = 2\n{NAMED}weight = 1\n{key}\n')
    with pytest.raises(InvalidFleetFile) as caught:
        load_fleet_file(path)
    assert f"fleet.toml: populations[2].{named.format(folder=tmp_path)}: no such file" == str(caught.value)


def test_a_fleet_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the path that the user gave."""
    for path, said in ((tmp_path / "none.toml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(InvalidFleetFile) as caught:
            load_fleet_file(path)
        assert f"{path}: {said}" == str(caught.value)
    path = tmp_path / "latin.toml"
    path.write_bytes('[[populations]]\nname = "Köln"'.encode("latin-1"))
    with pytest.raises(InvalidFleetFile) as caught:
        load_fleet_file(path)
    assert f"{path}: is not UTF-8" == str(caught.value)


def test_a_csv_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """An Excel file with the wrong ending, mostly."""
    path = tmp_path / "fleet.toml"
    path.write_text(NAMED + 'security = {passwords = "p.csv"}')
    (tmp_path / "p.csv").write_bytes(b"PK\xff\xfe")
    with pytest.raises(InvalidFleetFile) as caught:
        load_fleet_file(path)
    assert str(caught.value) == "fleet.toml: populations[1].security.passwords: p.csv: is not UTF-8"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=3)
        ),
    ),
    st.sampled_from(KEYS),
    st.sampled_from(["", "security", "charging", "misbehaviour", "configuration"]),
)
def test_whatever_stands_there_is_one_line(value: object, key: str, table: str) -> None:
    """Nothing that TOML can hold brings a traceback, or a line break into the message."""
    text = NAMED + (f"[populations.{table}]\n" if table else "") + f"{key} = {toml(value)}\n"
    try:
        parse(text)
    except InvalidFleetFile as error:
        message = str(error)
        assert message.startswith("city.toml: ")
        assert message.isprintable()
