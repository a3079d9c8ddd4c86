"""Configuration keys: what there is, what may be written to them, and what they read as afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.v16.enums import ConfigurationKey

from ampswarm.charge_point.configuration import (
    Configuration,
    ConfigurationStatus,
    Defaults,
    InvalidSetting,
    Key,
    Make,
)
from ampswarm.charge_point.sampling import Measurand, Wanted
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import Direction, validate

ACCEPTED = ConfigurationStatus.ACCEPTED
REJECTED = ConfigurationStatus.REJECTED
REBOOT_REQUIRED = ConfigurationStatus.REBOOT_REQUIRED
NOT_SUPPORTED = ConfigurationStatus.NOT_SUPPORTED

REGISTER = "Energy.Active.Import.Register"
EVERY_MEASURAND = ",".join(
    [
        *("Voltage", "Voltage.L1", "Voltage.L2", "Voltage.L3", "Voltage.L1-N", "Voltage.L2-N", "Voltage.L3-N"),
        *("Current.Import", "Current.Import.L1", "Current.Import.L2", "Current.Import.L3", "Current.Offered"),
        *("Power.Offered", "Power.Active.Import", REGISTER, "Energy.Active.Import.Interval"),
        *("Temperature", "Frequency"),
    ]
)
"""Of an AC charge point: 18 items."""


@dataclass(frozen=True)
class Expected:
    """What the standard says of one key, and what a fresh charge point answers."""

    kind: str
    """integer, boolean, CSL, measurands or String."""
    access: str
    """R, W or RW."""
    default: str
    good: tuple[tuple[str, str], ...] = ()
    """Values and what they read as."""
    bad: tuple[str, ...] = ()


def integer(access: str, default: str, least: int, most: int) -> Expected:
    good = ((str(least), str(least)), (str(most), str(most)), (f"0{least}", str(least)))
    bad = (
        str(least - 1),
        str(most + 1),
        "",
        " ",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x10",
        "one",
        f" {least}",
        "٣",
        "²",
        "9" * 500,
    )
    return Expected("integer", access, default, good, bad)


def boolean(access: str, default: str) -> Expected:
    good = (("true", "true"), ("false", "false"), ("TRUE", "true"), ("False", "false"))
    return Expected("boolean", access, default, good, ("", "1", "0", "yes", "on", " true", "truefalse", "trüe"))


def measurands(default: str) -> Expected:
    good = (
        ("", ""),
        (REGISTER, REGISTER),
        (f"{REGISTER}, Power.Active.Import ,Voltage.L1", f"{REGISTER},Power.Active.Import,Voltage.L1"),
        ("voltage,CURRENT.IMPORT.l3", "Voltage,Current.Import.L3"),
        (EVERY_MEASURAND, EVERY_MEASURAND),
        (EVERY_MEASURAND + ",Voltage" * 2, EVERY_MEASURAND),
    )
    bad = (
        ",",
        f"{REGISTER},",
        "Energy",
        "SoC",
        f"{REGISTER},SoC",
        "Voltage.L4",
        "RPM",
        EVERY_MEASURAND + ",Voltage" * 3,
        REGISTER + " " * 500,
    )
    return Expected("measurands", "RW", default, good, bad)


DAY = 86_400
MOST = 2**31 - 1

# From core chapter 9, core errata 3.80 to 3.91 and whitepaper 7; the defaults are an AC charge point's
# with one socket. Where the standard leaves the access open, the key can be written.
EXPECTED = {
    "AllowOfflineTxForUnknownId": boolean("RW", "false"),
    "AuthorizationCacheEnabled": boolean("RW", "true"),
    "AuthorizeRemoteTxRequests": boolean("RW", "false"),
    "BlinkRepeat": integer("RW", "3", 0, MOST),
    "ClockAlignedDataInterval": integer("RW", "0", 0, DAY),
    "ConnectionTimeOut": integer("RW", "60", 1, DAY),
    "ConnectorPhaseRotation": Expected(
        "CSL",
        "RW",
        "1.RST",
        (
            ("1.RST", "1.RST"),
            ("0.STR, 1.TRS", "0.STR,1.TRS"),
            ("0.notapplicable,1.UNKNOWN", "0.NotApplicable,1.Unknown"),
            ("1.RTS", "1.RTS"),
            ("1.SRT", "1.SRT"),
            ("1.TSR", "1.TSR"),
            ("", ""),
        ),
        (
            "RST",
            "2.RST",
            "1.RRR",
            "1.RST,1.RTS",
            "0.RST,1.RST,1.RST",
            "1.",
            ".RST",
            "x.RST",
            "-1.RST",
            "1.RST,",
            "1,RST",
        ),
    ),
    "ConnectorPhaseRotationMaxLength": Expected("integer", "R", "2"),
    "GetConfigurationMaxKeys": Expected("integer", "R", "100"),
    "HeartbeatInterval": integer("RW", "300", 1, DAY),
    "LightIntensity": integer("RW", "100", 0, 100),
    "LocalAuthorizeOffline": boolean("RW", "true"),
    "LocalPreAuthorize": boolean("RW", "false"),
    "MaxEnergyOnInvalidId": integer("RW", "0", 0, MOST),
    "MessageTimeout": integer("RW", "30", 1, DAY),
    "MeterValuesAlignedData": measurands(REGISTER),
    "MeterValuesAlignedDataMaxLength": Expected("integer", "R", "20"),
    "MeterValuesSampledData": measurands(f"{REGISTER},Power.Active.Import"),
    "MeterValuesSampledDataMaxLength": Expected("integer", "R", "20"),
    "MeterValueSampleInterval": integer("RW", "60", 0, DAY),
    "MinimumStatusDuration": integer("RW", "0", 0, DAY),
    "NumberOfConnectors": Expected("integer", "R", "1"),
    "ResetRetries": integer("RW", "3", 0, MOST),
    "StopTransactionMaxMeterValues": Expected("integer", "R", "100"),
    "StopTransactionOnEVSideDisconnect": boolean("RW", "true"),
    "StopTransactionOnInvalidId": boolean("RW", "true"),
    "StopTxnAlignedData": measurands(""),
    "StopTxnAlignedDataMaxLength": Expected("integer", "R", "20"),
    "StopTxnSampledData": measurands(""),
    "StopTxnSampledDataMaxLength": Expected("integer", "R", "20"),
    "SupportedFeatureProfiles": Expected(
        "CSL", "R", "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
    ),
    "SupportedFeatureProfilesMaxLength": Expected("integer", "R", "6"),
    "TransactionMessageAttempts": integer("RW", "3", 1, MOST),
    "TransactionMessageRetryInterval": integer("RW", "60", 1, DAY),
    "UnlockConnectorOnEVSideDisconnect": boolean("RW", "true"),
    "WebSocketPingInterval": integer("RW", "0", 0, DAY),
    "LocalAuthListEnabled": boolean("RW", "true"),
    "LocalAuthListMaxLength": Expected("integer", "R", "1000"),
    "SendLocalListMaxLength": Expected("integer", "R", "100"),
    "ReserveConnectorZeroSupported": Expected("boolean", "R", "true"),
    "ChargeProfileMaxStackLevel": Expected("integer", "R", "10"),
    "ChargingScheduleAllowedChargingRateUnit": Expected("CSL", "R", "Current,Power"),
    "ChargingScheduleMaxPeriods": Expected("integer", "R", "24"),
    "ConnectorSwitch3to1PhaseSupported": Expected("boolean", "R", "true"),
    "MaxChargingProfilesInstalled": Expected("integer", "R", "10"),
    "SupportedFileTransferProtocols": Expected("CSL", "R", "FTP,FTPS,HTTP,HTTPS"),
    "AdditionalRootCertificateCheck": Expected("boolean", "R", "false"),
    "AuthorizationKey": Expected(
        "String",
        "W",
        "",
        (("0123456789abcdefABCDEF0123456789", ""), ("ab" * 20, ""), ("ab" * 18, "")),
        ("", "ab" * 15, "ab" * 21, "a" * 33, "g" * 32, " " * 32, "a1" * 15 + "-1", "٣" * 32),
    ),
    "CertificateSignedMaxChainSize": Expected("integer", "R", "10000"),
    "CertificateStoreMaxLength": Expected("integer", "R", "10"),
    "CpoName": Expected(
        "String", "RW", "", (("Example, CPO", "Example, CPO"), ("x" * 64, "x" * 64), ("", "")), ("x" * 65,)
    ),
    "SecurityProfile": Expected(
        "integer", "RW", "0", (("1", "1"), ("2", "2"), ("3", "3")), ("0", "4", "-1", "", "1.0", "one")
    ),
}
READABLE = {name: expected for name, expected in EXPECTED.items() if expected.access != "W"}

each_key = pytest.mark.parametrize("name", EXPECTED)
each_good_value = pytest.mark.parametrize(
    ("name", "value", "read"), [(name, *pair) for name, expected in EXPECTED.items() for pair in expected.good]
)
each_bad_value = pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, expected in EXPECTED.items() for value in expected.bad]
)


def a_configuration(make: Make | None = None, **settings: str) -> Configuration:
    return Configuration(Defaults(make or Make(), settings))


def listed(configuration: Configuration) -> dict[str, Payload]:
    """What GetConfiguration without keys tells, by key."""
    return {entry["key"]: entry for entry in configuration.get(None)["configurationKey"]}


def read(configuration: Configuration, name: str) -> str | None:
    """What GetConfiguration tells of one key; `None` for no value."""
    payload = configuration.get([name])
    assert "unknownKey" not in payload
    (entry,) = payload["configurationKey"]
    value: str | None = entry.get("value")
    return value


def test_all_keys_are_there_and_no_others() -> None:
    """A key that is missing or invented breaks what a central system does at commissioning (core chapter 9)."""
    assert list(EXPECTED) == list(listed(a_configuration()))


def test_no_key_of_the_standard_is_missing() -> None:
    """The `ocpp` package lists the keys too; of its list only Plug & Charge is not in chapter 9."""
    plug_and_charge = {
        "CentralContractValidationAllowed",
        "CertSigningWaitMinimum",
        "CertSigningRepeatTimes",
        "ContractValidationOffline",
        "ISO15118PnCEnabled",
    }
    newer = {"MessageTimeout", "StopTransactionMaxMeterValues", "SupportedFileTransferProtocols"}

    assert {key.value for key in ConfigurationKey} - plug_and_charge | newer == set(Key)


@each_key
def test_how_a_key_reads(name: str) -> None:
    """A fresh charge point tells each key with its access and default (core 6.24, 7.29)."""
    expected = EXPECTED[name]
    entry: Payload = {"key": name, "readonly": expected.access == "R"}
    if expected.access != "W":
        entry["value"] = expected.default

    assert {"configurationKey": [entry]} == a_configuration().get([name])


@each_key
def test_a_key_has_the_type_of_the_standard(name: str) -> None:
    """What the charge point itself reads is what it tells, in the type that chapter 9 gives the key."""
    configuration = a_configuration()
    expected = EXPECTED[name]
    key = Key(name)

    assert expected.default == configuration.text(key)
    if expected.kind == "integer":
        assert int(expected.default) == configuration.integer(key)
    elif expected.kind == "boolean":
        assert (expected.default == "true") is configuration.boolean(key)
    elif expected.kind == "measurands":
        assert expected.default.split(",") * bool(expected.default) == [
            str(wanted.measurand) for wanted in configuration.measurands(key)
        ]


@each_good_value
def test_a_good_value_is_taken(name: str, value: str, read: str) -> None:
    """A central system that writes a value reads it afterwards, and the charge point goes by it (core 5.3)."""
    configuration = a_configuration()

    assert configuration.change(name, value) == ACCEPTED
    if name in READABLE:
        assert read == listed(configuration)[name]["value"]
        assert read == configuration.text(name)
    kind = EXPECTED[name].kind
    if kind == "integer":
        assert int(read) == configuration.integer(Key(name))
    elif kind == "boolean":
        assert (read == "true") is configuration.boolean(Key(name))


@each_bad_value
def test_a_bad_value_is_rejected(name: str, value: str) -> None:
    """Out of range or in no proper form: Rejected, and nothing changes (core 5.3)."""
    configuration = a_configuration()

    assert configuration.change(name, value) == REJECTED
    assert EXPECTED[name].default == configuration.text(name)


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if expected.access == "R"])
def test_a_read_only_key_cannot_be_written(name: str) -> None:
    """A key that is known and read-only is Rejected, even with the value that it has (core 5.3, chapter 9)."""
    configuration = a_configuration()
    before = listed(configuration)

    assert {REJECTED} == {configuration.change(name, value) for value in (EXPECTED[name].default, "1", "5", "true", "")}
    assert before == listed(configuration)


@each_key
def test_case_does_not_count_in_names(name: str) -> None:
    """A key is a CiString50Type; it is told in its proper spelling (core 7.17)."""
    configuration = a_configuration()

    for spelling in (name.lower(), name.upper(), name.swapcase()):
        (entry,) = configuration.get([spelling])["configurationKey"]
        assert name == entry["key"]
        if EXPECTED[name].good:
            value, expected = EXPECTED[name].good[-1]
            fresh = a_configuration()
            assert fresh.change(spelling, value) == ACCEPTED
            assert name not in READABLE or expected == read(fresh, name)


def test_an_unknown_key_is_not_supported() -> None:
    """NotSupported for ChangeConfiguration (core 5.3), unknownKey for GetConfiguration (core 5.8), spelled as asked."""
    configuration = a_configuration()

    assert configuration.change("NoSuchKey", "1") == NOT_SUPPORTED
    assert configuration.change("", "1") == NOT_SUPPORTED
    answer = configuration.get(["NoSuchKey", "SecurityProfile", "heartbeat interval", "nosuchkey", "SECURITYPROFILE"])
    assert answer == {
        "configurationKey": [{"key": "SecurityProfile", "readonly": False, "value": "0"}],
        "unknownKey": ["NoSuchKey", "heartbeat interval"],
    }


def test_an_empty_list_of_keys_asks_for_all() -> None:
    """An empty list is as good as none (core 5.8)."""
    configuration = a_configuration()

    assert configuration.get(None) == configuration.get([])
    assert len(EXPECTED) == len(configuration.get([])["configurationKey"])


def test_more_keys_than_there_may_be() -> None:
    """GetConfigurationMaxKeys is a limit that a charge point tells and keeps (core 5.8, 9.1.9)."""
    configuration = a_configuration(GetConfigurationMaxKeys="2")

    assert len(configuration.get(["ResetRetries", "BlinkRepeat"])["configurationKey"]) == 2
    with pytest.raises(OcppError) as caught:
        configuration.get(["ResetRetries", "BlinkRepeat", "NoSuchKey"])
    assert caught.value.code is ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION
    assert len(EXPECTED) == len(configuration.get(None)["configurationKey"])


@pytest.mark.parametrize("names", [None, ["NoSuchKey"], ["AuthorizationKey", "NoSuchKey", "CpoName"]])
def test_the_answer_keeps_to_its_schema(names: list[str] | None) -> None:
    """What a strict central system would refuse to read (core 6.24)."""
    make = Make(connectors=200)
    configuration = Configuration(Defaults(make, vendor_keys={"V" * 50: "v" * 500}))

    validate("GetConfiguration", Direction.CONF, configuration.get(names))


class TestSecurityKeys:
    """AuthorizationKey and SecurityProfile (whitepaper 7.2, 7.6, A01, A05)."""

    PASSWORD = "0123456789abcdef" * 2

    def test_the_password_never_leaves(self) -> None:
        """AuthorizationKey is write-only: known, listed, and without a value (whitepaper 7.2)."""
        configuration = a_configuration(AuthorizationKey=self.PASSWORD)
        other = "fedcba9876543210" * 2

        assert listed(configuration)["AuthorizationKey"] == {"key": "AuthorizationKey", "readonly": False}
        assert configuration.change("AuthorizationKey", other) == ACCEPTED
        assert listed(configuration)["AuthorizationKey"] == {"key": "AuthorizationKey", "readonly": False}
        assert other == configuration.text(Key.AUTHORIZATION_KEY)
        assert not {self.PASSWORD, other} & {entry.get("value") for entry in listed(configuration).values()}

    def test_a_bad_password_is_not_told(self) -> None:
        """An error message ends in a log, and no password may (whitepaper A01.FR.12)."""
        with pytest.raises(InvalidSetting) as caught:
            a_configuration(AuthorizationKey="not hexadecimal")
        assert str(caught.value) == "AuthorizationKey: not 16 to 20 bytes in hexadecimal digits"

    def test_a_profile_only_rises(self) -> None:
        """A lower profile, and the present one, are Rejected (A05.FR.01)."""
        configuration = a_configuration(SecurityProfile="1")

        assert configuration.change("SecurityProfile", "1") == REJECTED
        assert configuration.change("SecurityProfile", "0") == REJECTED
        assert configuration.change("SecurityProfile", "3") == ACCEPTED
        assert configuration.change("SecurityProfile", "2") == REJECTED
        assert configuration.integer(Key.SECURITY_PROFILE) == 3

    def test_falling_back_to_the_previous_profile(self) -> None:
        """When it cannot connect with the new profile, the charge point goes back by itself (A05.FR.08)."""
        configuration = a_configuration(SecurityProfile="1")
        configuration.change("SecurityProfile", "2")

        configuration.set(Key.SECURITY_PROFILE, 1)

        assert read(configuration, "SecurityProfile") == "1"
        assert configuration.change("SecurityProfile", "2") == ACCEPTED

    def test_a_precondition_that_is_not_met(self) -> None:
        """What the check says is the answer, and nothing changes (A05.FR.02 to 04)."""
        configuration = a_configuration()
        asked: list[tuple[Key, object]] = []

        def refuse(key: Key, value: object) -> ConfigurationStatus:
            asked.append((key, value))
            return REJECTED

        assert configuration.change("securityprofile", "2", check=refuse) == REJECTED
        assert configuration.integer(Key.SECURITY_PROFILE) == 0
        assert asked == [(Key.SECURITY_PROFILE, 2)]
        assert configuration.change("SecurityProfile", "2", check=lambda _key, _value: None) == ACCEPTED

    def test_only_what_could_be_stored_is_checked(self) -> None:
        """A check may have effects, such as a new password: not for a value that is refused anyway."""
        configuration = Configuration(Defaults(Make(), vendor_keys={"Colour": "red"}))

        def never(key: Key, value: object) -> ConfigurationStatus | None:
            raise AssertionError((key, value))

        assert configuration.change("AuthorizationKey", "short", check=never) == REJECTED
        assert configuration.change("SecurityProfile", "0", check=never) == REJECTED
        assert configuration.change("NumberOfConnectors", "1", check=never) == REJECTED
        assert configuration.change("NoSuchKey", "1", check=never) == NOT_SUPPORTED
        assert configuration.change("Colour", "blue", check=never) == ACCEPTED


class TestMakes:
    """Keys that depend on what the charge point is."""

    def test_dc(self) -> None:
        """DC knows the EV's state of charge and has no phases; its cable is fixed (core errata 3.84)."""
        configuration = a_configuration(Make(connectors=2, is_dc=True))

        assert read(configuration, "MeterValuesSampledData") == f"{REGISTER},Power.Active.Import,SoC"
        assert read(configuration, "ConnectorPhaseRotation") == "1.NotApplicable,2.NotApplicable"
        assert read(configuration, "NumberOfConnectors") == "2"
        assert read(configuration, "ConnectorPhaseRotationMaxLength") == "3"
        assert configuration.get(["ConnectorSwitch3to1PhaseSupported"]) == {
            "configurationKey": [],
            "unknownKey": ["ConnectorSwitch3to1PhaseSupported"],
        }
        assert configuration.boolean(Key.CONNECTOR_SWITCH_3_TO_1_PHASE_SUPPORTED) is False
        assert configuration.change("MeterValuesSampledData", "SoC") == ACCEPTED
        assert configuration.measurands(Key.METER_VALUES_SAMPLED_DATA) == (Wanted(Measurand.SOC),)
        assert configuration.change("MeterValuesSampledData", "Voltage.L1") == REJECTED
        assert configuration.change("MeterValuesSampledData", "Frequency") == REJECTED
        assert configuration.change("UnlockConnectorOnEVSideDisconnect", "false") == REJECTED
        assert configuration.change("ConnectorPhaseRotation", "0.RST,2.NotApplicable") == ACCEPTED
        assert configuration.change("ConnectorPhaseRotation", "3.NotApplicable") == REJECTED

    def test_one_phase(self) -> None:
        """A single-phase charge point measures L1 and has no rotation (core 9.1.7)."""
        configuration = a_configuration(Make(phases=1))

        assert read(configuration, "ConnectorPhaseRotation") == "1.NotApplicable"
        assert configuration.change("MeterValuesSampledData", "Voltage.L1") == ACCEPTED
        assert configuration.change("MeterValuesSampledData", "Voltage.L2") == REJECTED
        assert "ConnectorSwitch3to1PhaseSupported" not in listed(configuration)

    def test_a_fixed_cable(self) -> None:
        """Always false, and not to be changed (core errata 3.84)."""
        configuration = a_configuration(Make(has_cable_lock=False))

        assert listed(configuration)["UnlockConnectorOnEVSideDisconnect"] == {
            "key": "UnlockConnectorOnEVSideDisconnect",
            "readonly": True,
            "value": "false",
        }
        assert configuration.change("UnlockConnectorOnEVSideDisconnect", "true") == REJECTED
        with pytest.raises(InvalidSetting, match="^UnlockConnectorOnEVSideDisconnect: .*fixed cable"):
            a_configuration(Make(has_cable_lock=False), UnlockConnectorOnEVSideDisconnect="true")

    @pytest.mark.parametrize("connectors", [1, 30, 31, 80, 200])
    def test_many_connectors_fit_a_value(self, connectors: int) -> None:
        """However many connectors: no value is longer than 500 characters, nor ends in the middle of an item."""
        configuration = a_configuration(Make(connectors=connectors, phases=1))
        items = configuration.text(Key.CONNECTOR_PHASE_ROTATION).split(",")

        assert len(configuration.text(Key.CONNECTOR_PHASE_ROTATION)) <= 500
        assert [f"{connector_id}.NotApplicable" for connector_id in range(1, len(items) + 1)] == items
        assert len(items) == min(connectors, 30)  # the thirtieth ends at 500

    @pytest.mark.parametrize("change", [{"connectors": 0}, {"phases": 2}, {"phases": 0}])
    def test_no_such_charge_point(self, change: dict[str, Any]) -> None:
        """A typing error in a scenario is one clear line at its start."""
        with pytest.raises(ValueError, match="^a charge point has"):
            Make(**change)


class TestDefaults:
    """What a charge point leaves the factory with."""

    def test_settings_are_the_new_defaults(self) -> None:
        """Also of read-only keys, and in any case of letters."""
        configuration = a_configuration(
            heartbeatinterval="77",
            LocalAuthListMaxLength="5",
            AuthorizeRemoteTxRequests="True",
            MeterValuesSampledData="Voltage",
            ChargingScheduleAllowedChargingRateUnit="current",
        )

        assert configuration.integer(Key.HEARTBEAT_INTERVAL) == 77
        assert configuration.integer(Key.LOCAL_AUTH_LIST_MAX_LENGTH) == 5
        assert configuration.boolean(Key.AUTHORIZE_REMOTE_TX_REQUESTS) is True
        assert configuration.measurands(Key.METER_VALUES_SAMPLED_DATA) == (Wanted(Measurand.VOLTAGE),)
        assert read(configuration, "ChargingScheduleAllowedChargingRateUnit") == "Current"

    def test_a_setting_that_comes_twice(self) -> None:
        """What a user sets goes over what a template set before, however it is spelled."""
        defaults = Defaults(Make(), {"MessageTimeout": "30", "messagetimeout": "5"})

        assert Configuration(defaults).integer(Key.MESSAGE_TIMEOUT) == 5

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("HeartbeatIntervall", "5", "HeartbeatIntervall: this charge point has no such standard key"),
            ("HeartbeatInterval", "0", "HeartbeatInterval: not an integer from 1 to 86400: '0'"),
            ("LOCALPREAUTHORIZE", "yes", "LocalPreAuthorize: neither 'true' nor 'false': 'yes'"),
            ("NumberOfConnectors", "2", "NumberOfConnectors: not an integer from 1 to 1: '2'"),
            ("StopTxnSampledData", "SoC", "StopTxnSampledData: SoC is not supported"),
            (
                "StopTransactionMaxMeterValues",
                "1",
                "StopTransactionMaxMeterValues: not an integer from 2 to 2147483647: '1'",
            ),
            (
                "CertificateSignedMaxChainSize",
                "10001",
                "CertificateSignedMaxChainSize: not an integer from 1 to 10000: '10001'",
            ),
            (
                "SupportedFileTransferProtocols",
                "FTP,SFTP",
                "SupportedFileTransferProtocols: not one of FTP, FTPS, HTTP, HTTPS: 'SFTP'",
            ),
            ("SupportedFileTransferProtocols", "FTP,ftp", "SupportedFileTransferProtocols: FTP twice"),
            (
                "ChargingScheduleAllowedChargingRateUnit",
                "",
                "ChargingScheduleAllowedChargingRateUnit: none of Current, Power",
            ),
            ("SupportedFeatureProfiles", "SmartCharging", "SupportedFeatureProfiles: Core is missing"),
            ("CpoName", "x" * 501, "CpoName: longer than 500 characters"),
        ],
    )
    def test_a_setting_that_cannot_be(self, name: str, value: str, message: str) -> None:
        """A user's mistake is one line that names the key, before a fleet starts."""
        with pytest.raises(InvalidSetting) as caught:
            Defaults(Make(), {name: value})
        assert message == str(caught.value)

    def test_a_list_is_no_longer_than_its_length_key_says(self) -> None:
        """[KeyName]MaxLength is the limit of a list, also of one that is set together with it (core 5.3)."""
        configuration = a_configuration(MeterValuesSampledDataMaxLength="2")

        assert configuration.change("MeterValuesSampledData", "Voltage,Temperature") == ACCEPTED
        assert configuration.change("MeterValuesSampledData", "Voltage,Temperature,Frequency") == REJECTED
        assert configuration.change("MeterValuesAlignedData", "Voltage,Temperature,Frequency") == ACCEPTED
        with pytest.raises(InvalidSetting) as caught:
            a_configuration(StopTxnSampledData="Voltage,Temperature", StopTxnSampledDataMaxLength="1")
        assert str(caught.value) == "StopTxnSampledData: more than 1 items (StopTxnSampledDataMaxLength)"

    def test_a_profile_less(self) -> None:
        """The keys of a feature profile that is not supported are not there (core chapter 9)."""
        configuration = a_configuration(SupportedFeatureProfiles="core,Reservation")

        gone = {
            "LocalAuthListEnabled", "LocalAuthListMaxLength", "SendLocalListMaxLength",
            "ChargeProfileMaxStackLevel", "ChargingScheduleAllowedChargingRateUnit", "ChargingScheduleMaxPeriods",
            "ConnectorSwitch3to1PhaseSupported", "MaxChargingProfilesInstalled", "SupportedFileTransferProtocols",
        }  # fmt: skip
        assert set(EXPECTED) - gone == set(listed(configuration))
        assert configuration.profiles == {"Core", "Reservation"}
        assert configuration.change("LocalAuthListEnabled", "true") == NOT_SUPPORTED
        with pytest.raises(InvalidSetting) as caught:
            a_configuration(SupportedFeatureProfiles="Core", LocalAuthListEnabled="true")
        assert str(caught.value) == "LocalAuthListEnabled: the profile LocalAuthListManagement is not supported"

    def test_keys_of_the_vendor(self) -> None:
        """A vendor's own keys are texts that can be read, listed and written (core 6.9)."""
        configuration = Configuration(Defaults(Make(), vendor_keys={"AcmeColour": "red", "AcmeMode": ""}))

        assert configuration.change("acmecolour", "Blue, green") == ACCEPTED
        assert configuration.change("AcmeColour", "x" * 501) == REJECTED
        assert configuration.get(["ACMECOLOUR", "AcmeMode"])["configurationKey"] == [
            {"key": "AcmeColour", "readonly": False, "value": "Blue, green"},
            {"key": "AcmeMode", "readonly": False, "value": ""},
        ]
        assert configuration.text("AcmeColour") == "Blue, green"
        assert [*EXPECTED, "AcmeColour", "AcmeMode"] == list(listed(configuration))

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["heartbeatinterval"], "heartbeatinterval: no key of the vendor's own, there is one of this name"),
            (
                ["ConnectorSwitch3to1PhaseSupported"],
                "ConnectorSwitch3to1PhaseSupported: no key of the vendor's own, there is one of this name",
            ),
            (["Acme", "ACME"], "ACME: no key of the vendor's own, there is one of this name"),
            ([""], "'': a key has 1 to 50 characters"),
            (["x" * 51], f"'{'x' * 50}': a key has 1 to 50 characters"),
        ],
    )
    def test_no_name_for_a_vendors_key(self, names: list[str], message: str) -> None:
        """No two keys of one name, and none of a standard key's that this make has not: it would mean another thing."""
        with pytest.raises(InvalidSetting) as caught:
            Defaults(Make(is_dc=True), vendor_keys=dict.fromkeys(names, "1"))
        assert message == str(caught.value)

    @pytest.mark.parametrize("name", ["NoSuchKey", "NumberOfConnectors"])
    def test_a_reboot_that_could_change_nothing(self, name: str) -> None:
        """Of a key that cannot be written, no change can wait for a reboot."""
        with pytest.raises(InvalidSetting, match=f"^{name}: no key that a reboot could make effective$"):
            Defaults(Make(), reboot_required=frozenset({name}))

    def test_told_what_it_has_costs_no_memory(self) -> None:
        """50,000 charge points that are all sent the interval that they have keep no state of their own for it."""
        configuration = a_configuration()

        configuration.set(Key.HEARTBEAT_INTERVAL, 300)
        assert configuration.change("LocalPreAuthorize", "false") == ACCEPTED
        assert configuration._changes is None
        assert configuration.change("HeartbeatInterval", "5") == ACCEPTED
        assert configuration.change("HeartbeatInterval", "300") == ACCEPTED
        assert configuration._changes is None
        assert not hasattr(configuration, "__dict__")

    def test_charge_points_share_defaults_and_nothing_else(self) -> None:
        """What one charge point is told must not reach another of its population."""
        defaults = Defaults(Make())
        one, other = Configuration(defaults), Configuration(defaults)

        assert one.change("HeartbeatInterval", "5") == ACCEPTED
        assert (other.integer(Key.HEARTBEAT_INTERVAL), read(other, "HeartbeatInterval")) == (300, "300")
        assert one.change("MeterValuesSampledData", "Voltage") == ACCEPTED
        assert other.change("MeterValuesSampledData", "Voltage") == ACCEPTED
        assert one.measurands(Key.METER_VALUES_SAMPLED_DATA) is other.measurands(Key.METER_VALUES_SAMPLED_DATA)


class TestReboot:
    """RebootRequired (core 7.22)."""

    @pytest.fixture
    def configuration(self) -> Configuration:
        return Configuration(
            Defaults(Make(), vendor_keys={"Acme": "1"}, reboot_required=frozenset({"blinkrepeat", "ACME"}))
        )

    def test_effective_only_after_the_reboot(self, configuration: Configuration) -> None:
        """The setting is changed, and told, but the charge point goes by it after the reboot only."""
        assert configuration.change("BlinkRepeat", "7") == REBOOT_REQUIRED
        assert configuration.change("Acme", "2") == REBOOT_REQUIRED
        assert (read(configuration, "BlinkRepeat"), read(configuration, "Acme")) == ("7", "2")
        assert (configuration.integer(Key.BLINK_REPEAT), configuration.text("Acme")) == (3, "1")

        configuration.reboot()

        assert (configuration.integer(Key.BLINK_REPEAT), configuration.text("Acme")) == (7, "2")
        assert (read(configuration, "BlinkRepeat"), read(configuration, "Acme")) == ("7", "2")

    def test_back_to_what_it_was(self, configuration: Configuration) -> None:
        """To the value in effect, no reboot is needed, and none changes it."""
        assert configuration.change("BlinkRepeat", "7") == REBOOT_REQUIRED
        assert configuration.change("BlinkRepeat", "3") == ACCEPTED
        configuration.reboot()

        assert (configuration.integer(Key.BLINK_REPEAT), read(configuration, "BlinkRepeat")) == (3, "3")

    def test_a_bad_value_leaves_what_waits(self, configuration: Configuration) -> None:
        """Rejected changes nothing, not even what is not in effect yet."""
        assert configuration.change("BlinkRepeat", "7") == REBOOT_REQUIRED
        assert configuration.change("BlinkRepeat", "-1") == REJECTED
        configuration.reboot()

        assert configuration.integer(Key.BLINK_REPEAT) == 7

    def test_the_last_of_several_changes(self, configuration: Configuration) -> None:
        """What waits goes over an earlier change that is in effect, in what is told."""
        assert configuration.change("BlinkRepeat", "7") == REBOOT_REQUIRED
        configuration.reboot()
        assert configuration.change("BlinkRepeat", "8") == REBOOT_REQUIRED
        assert (configuration.integer(Key.BLINK_REPEAT), read(configuration, "BlinkRepeat")) == (7, "8")
        assert configuration.change("BlinkRepeat", "9") == REBOOT_REQUIRED
        configuration.reboot()

        assert (configuration.integer(Key.BLINK_REPEAT), read(configuration, "BlinkRepeat")) == (9, "9")

    def test_a_second_reboot_changes_nothing_more(self, configuration: Configuration) -> None:
        """What became effective once does not come back over a later change."""
        assert configuration.change("BlinkRepeat", "7") == REBOOT_REQUIRED
        configuration.reboot()
        configuration.set(Key.BLINK_REPEAT, 5)
        configuration.reboot()

        assert (configuration.integer(Key.BLINK_REPEAT), read(configuration, "BlinkRepeat")) == (5, "5")

    def test_other_keys_are_effective_at_once_and_outlast_it(self, configuration: Configuration) -> None:
        """A configuration is kept over a reboot (core 5.3)."""
        assert configuration.change("ResetRetries", "9") == ACCEPTED
        configuration.reboot()

        assert configuration.integer(Key.RESET_RETRIES) == 9


WRITABLE = {
    name: expected for name, expected in EXPECTED.items() if expected.access == "RW" and name != "SecurityProfile"
}
good_changes = st.sampled_from([(name, *pair) for name, expected in WRITABLE.items() for pair in expected.good])
bad_changes = st.sampled_from([(name, value, None) for name, expected in WRITABLE.items() for value in expected.bad])
refused_changes = st.tuples(
    st.sampled_from([*(set(EXPECTED) - set(WRITABLE)), "NoSuchKey"]), st.sampled_from(["", "true", "0", "x"]), st.none()
)
reboots = st.just(("", "", None))


@given(st.lists(st.one_of(good_changes, good_changes, bad_changes, refused_changes, reboots), max_size=30))
def test_what_was_written_is_read(steps: list[tuple[str, str, str | None]]) -> None:
    """Whatever a central system writes and in whatever order: it reads its last good value of each key (core 5.8)."""
    delayed = frozenset({"LightIntensity", "CpoName", "MeterValuesAlignedData"})
    configuration = Configuration(Defaults(Make(), reboot_required=delayed))
    told = {name: expected.default for name, expected in READABLE.items()}
    effective = dict(told)

    for name, value, good in steps:
        if not name:
            configuration.reboot()
            effective = dict(told)
            continue
        status = configuration.change(name, value)
        if good is None:
            assert status in {REJECTED, NOT_SUPPORTED}
            continue
        told[name] = good
        waits = name in delayed and effective[name] != good
        assert status == (REBOOT_REQUIRED if waits else ACCEPTED)
        if not waits:
            effective[name] = good

        assert told == {key: entry["value"] for key, entry in listed(configuration).items() if "value" in entry}
        assert effective == {key: configuration.text(key) for key in READABLE}


@given(st.sampled_from(sorted(EXPECTED)), st.text(max_size=520))
def test_any_text_has_an_answer(name: str, value: str) -> None:
    """No text that a central system may write breaks the charge point, and what is told is never too long."""
    configuration = a_configuration()

    assert isinstance(configuration.change(name, value), ConfigurationStatus)
    assert isinstance(configuration.change(value, value), ConfigurationStatus)
    validate("GetConfiguration", Direction.CONF, configuration.get(None))


@given(st.integers(min_value=1, max_value=DAY))
def test_what_the_charge_point_sets_itself(seconds: int) -> None:
    """The interval of BootNotification.conf becomes the HeartbeatInterval, and is told as such (core 4.2)."""
    configuration = a_configuration()
    configuration.set(Key.HEARTBEAT_INTERVAL, seconds)

    assert (configuration.integer(Key.HEARTBEAT_INTERVAL), read(configuration, "HeartbeatInterval")) == (
        seconds,
        str(seconds),
    )
    configuration.set(Key.LOCAL_PRE_AUTHORIZE, value=True)
    assert (configuration.boolean(Key.LOCAL_PRE_AUTHORIZE), read(configuration, "LocalPreAuthorize")) == (True, "true")
