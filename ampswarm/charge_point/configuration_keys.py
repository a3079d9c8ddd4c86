"""The standard configuration keys (core chapter 9, core errata 3.80 to 3.91, whitepaper 7): type, range, default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from ampswarm.charge_point.sampling import SUPPORTED_AC, SUPPORTED_DC, Measurand, Wanted, parse_measurands

MAX_HEARTBEAT_INTERVAL: Final = 24 * 60 * 60
"""Seconds. A day: core 4.6 advises one Heartbeat in 24 h, for the clock."""
MAX_VALUE_LENGTH: Final = 500
"""Characters: a value is a CiString500Type (core 6.9, 7.29)."""

_DAY: Final = 24 * 60 * 60
_MAX_INTEGER: Final = 2**31 - 1
_MAX_ITEMS: Final = 20
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_MAX_ORGANIZATION: Final = 64
"""Characters that a certificate's O can hold (RFC 5280, appendix A.1)."""

Value = int | str | tuple[Wanted, ...]
"""What a key holds: an integer, a boolean, a text, or what a list of measurands asks for."""


class Key(StrEnum):
    """The name of a standard configuration key, as it goes out. On its way in, case does not count (core 7.17)."""

    ALLOW_OFFLINE_TX_FOR_UNKNOWN_ID = "AllowOfflineTxForUnknownId"
    AUTHORIZATION_CACHE_ENABLED = "AuthorizationCacheEnabled"
    AUTHORIZE_REMOTE_TX_REQUESTS = "AuthorizeRemoteTxRequests"
    BLINK_REPEAT = "BlinkRepeat"
    CLOCK_ALIGNED_DATA_INTERVAL = "ClockAlignedDataInterval"
    CONNECTION_TIME_OUT = "ConnectionTimeOut"
    CONNECTOR_PHASE_ROTATION = "ConnectorPhaseRotation"
    CONNECTOR_PHASE_ROTATION_MAX_LENGTH = "ConnectorPhaseRotationMaxLength"
    GET_CONFIGURATION_MAX_KEYS = "GetConfigurationMaxKeys"
    HEARTBEAT_INTERVAL = "HeartbeatInterval"
    LIGHT_INTENSITY = "LightIntensity"
    LOCAL_AUTHORIZE_OFFLINE = "LocalAuthorizeOffline"
    LOCAL_PRE_AUTHORIZE = "LocalPreAuthorize"
    MAX_ENERGY_ON_INVALID_ID = "MaxEnergyOnInvalidId"
    MESSAGE_TIMEOUT = "MessageTimeout"
    METER_VALUES_ALIGNED_DATA = "MeterValuesAlignedData"
    METER_VALUES_ALIGNED_DATA_MAX_LENGTH = "MeterValuesAlignedDataMaxLength"
    METER_VALUES_SAMPLED_DATA = "MeterValuesSampledData"
    METER_VALUES_SAMPLED_DATA_MAX_LENGTH = "MeterValuesSampledDataMaxLength"
    METER_VALUE_SAMPLE_INTERVAL = "MeterValueSampleInterval"
    MINIMUM_STATUS_DURATION = "MinimumStatusDuration"
    NUMBER_OF_CONNECTORS = "NumberOfConnectors"
    RESET_RETRIES = "ResetRetries"
    STOP_TRANSACTION_MAX_METER_VALUES = "StopTransactionMaxMeterValues"
    STOP_TRANSACTION_ON_EV_SIDE_DISCONNECT = "StopTransactionOnEVSideDisconnect"
    STOP_TRANSACTION_ON_INVALID_ID = "StopTransactionOnInvalidId"
    STOP_TXN_ALIGNED_DATA = "StopTxnAlignedData"
    STOP_TXN_ALIGNED_DATA_MAX_LENGTH = "StopTxnAlignedDataMaxLength"
    STOP_TXN_SAMPLED_DATA = "StopTxnSampledData"
    STOP_TXN_SAMPLED_DATA_MAX_LENGTH = "StopTxnSampledDataMaxLength"
    SUPPORTED_FEATURE_PROFILES = "SupportedFeatureProfiles"
    SUPPORTED_FEATURE_PROFILES_MAX_LENGTH = "SupportedFeatureProfilesMaxLength"
    TRANSACTION_MESSAGE_ATTEMPTS = "TransactionMessageAttempts"
    TRANSACTION_MESSAGE_RETRY_INTERVAL = "TransactionMessageRetryInterval"
    UNLOCK_CONNECTOR_ON_EV_SIDE_DISCONNECT = "UnlockConnectorOnEVSideDisconnect"
    WEB_SOCKET_PING_INTERVAL = "WebSocketPingInterval"
    LOCAL_AUTH_LIST_ENABLED = "LocalAuthListEnabled"
    LOCAL_AUTH_LIST_MAX_LENGTH = "LocalAuthListMaxLength"
    SEND_LOCAL_LIST_MAX_LENGTH = "SendLocalListMaxLength"
    RESERVE_CONNECTOR_ZERO_SUPPORTED = "ReserveConnectorZeroSupported"
    CHARGE_PROFILE_MAX_STACK_LEVEL = "ChargeProfileMaxStackLevel"
    CHARGING_SCHEDULE_ALLOWED_CHARGING_RATE_UNIT = "ChargingScheduleAllowedChargingRateUnit"
    CHARGING_SCHEDULE_MAX_PERIODS = "ChargingScheduleMaxPeriods"
    CONNECTOR_SWITCH_3_TO_1_PHASE_SUPPORTED = "ConnectorSwitch3to1PhaseSupported"
    MAX_CHARGING_PROFILES_INSTALLED = "MaxChargingProfilesInstalled"
    SUPPORTED_FILE_TRANSFER_PROTOCOLS = "SupportedFileTransferProtocols"
    ADDITIONAL_ROOT_CERTIFICATE_CHECK = "AdditionalRootCertificateCheck"
    AUTHORIZATION_KEY = "AuthorizationKey"
    CERTIFICATE_SIGNED_MAX_CHAIN_SIZE = "CertificateSignedMaxChainSize"
    CERTIFICATE_STORE_MAX_LENGTH = "CertificateStoreMaxLength"
    CPO_NAME = "CpoName"
    SECURITY_PROFILE = "SecurityProfile"


class Profile(StrEnum):
    """A feature profile (core 3.3), as SupportedFeatureProfiles names it (core 9.1.29)."""

    CORE = "Core"
    FIRMWARE_MANAGEMENT = "FirmwareManagement"
    LOCAL_AUTH_LIST_MANAGEMENT = "LocalAuthListManagement"
    RESERVATION = "Reservation"
    SMART_CHARGING = "SmartCharging"
    REMOTE_TRIGGER = "RemoteTrigger"


@dataclass(frozen=True, slots=True)
class Make:
    """What the keys of a charge point depend on."""

    connectors: int = 1
    """Connectors that an EV can be plugged into."""
    is_dc: bool = False
    phases: int = 3
    """Of an AC charge point: 1 or 3."""
    has_cable_lock: bool = True
    """Whether the EV's own cable is plugged into a socket that locks it; if not, as with DC, the cable is fixed."""

    def __post_init__(self) -> None:
        if self.connectors < 1:
            raise ValueError(f"a charge point has at least one connector, not {self.connectors}")
        if self.phases not in {1, 3}:
            raise ValueError(f"a charge point has 1 phase or 3, not {self.phases}")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key may hold, and who may read and write it."""

    parse: Callable[[str], Value]
    """Gives the value of a text; raises ValueError with what is wrong with it."""
    default: str
    is_readonly: bool = False
    is_writeonly: bool = False
    profile: Profile = Profile.CORE
    length_key: Key | None = None
    """The key with the largest number of items of a list (core 5.3)."""


def rules(make: Make) -> dict[Key, Rule]:  # one table of all keys: it is long, and nothing else
    """Return the keys of a make of charge point, in the order in which GetConfiguration.conf lists them.

    An optional key of something that the make has not is not there (core chapter 9).
    """
    register = Measurand.ENERGY_ACTIVE_IMPORT_REGISTER.value
    sampled = f"{register},{Measurand.POWER_ACTIVE_IMPORT.value}" + (f",{Measurand.SOC.value}" if make.is_dc else "")
    phases = 1 if make.is_dc else make.phases
    measurands = partial(
        parse_measurands,
        supported=SUPPORTED_DC if make.is_dc else SUPPORTED_AC,
        phases=0 if make.is_dc else phases,
        max_length=MAX_VALUE_LENGTH,  # `length_key` says the limit
    )
    profiles = ",".join(Profile)
    yes, no = "true", "false"
    lists, smart = Profile.LOCAL_AUTH_LIST_MANAGEMENT, Profile.SMART_CHARGING
    table = {
        # Core
        Key.ALLOW_OFFLINE_TX_FOR_UNKNOWN_ID: Rule(_boolean, no),
        Key.AUTHORIZATION_CACHE_ENABLED: Rule(_boolean, yes),
        # Who asks for a remote start has looked the identifier up: asking it back would only cost a round trip.
        Key.AUTHORIZE_REMOTE_TX_REQUESTS: Rule(_boolean, no),
        Key.BLINK_REPEAT: Rule(_integer(0), "3"),
        Key.CLOCK_ALIGNED_DATA_INTERVAL: Rule(_integer(0, _DAY), "0"),
        # 0 would take every plug back before a hand can move; the standard gives it no other meaning.
        Key.CONNECTION_TIME_OUT: Rule(_integer(1, _DAY), "60"),
        Key.CONNECTOR_PHASE_ROTATION: Rule(
            partial(_phase_rotation, connectors=make.connectors),
            _usual_phase_rotation(make.connectors, phases),
            length_key=Key.CONNECTOR_PHASE_ROTATION_MAX_LENGTH,
        ),
        # One for each connector, and one for the grid connection.
        Key.CONNECTOR_PHASE_ROTATION_MAX_LENGTH: Rule(_integer(1), f"{make.connectors + 1}", is_readonly=True),
        Key.GET_CONFIGURATION_MAX_KEYS: Rule(_integer(1), "100", is_readonly=True),
        Key.HEARTBEAT_INTERVAL: Rule(_integer(1, MAX_HEARTBEAT_INTERVAL), "300"),
        Key.LIGHT_INTENSITY: Rule(_integer(0, 100), "100"),
        Key.LOCAL_AUTHORIZE_OFFLINE: Rule(_boolean, yes),
        Key.LOCAL_PRE_AUTHORIZE: Rule(_boolean, no),
        Key.MAX_ENERGY_ON_INVALID_ID: Rule(_integer(0), "0"),
        Key.MESSAGE_TIMEOUT: Rule(_integer(1, _DAY), "30"),
        Key.METER_VALUES_ALIGNED_DATA: Rule(measurands, register, length_key=Key.METER_VALUES_ALIGNED_DATA_MAX_LENGTH),
        Key.METER_VALUES_ALIGNED_DATA_MAX_LENGTH: Rule(_integer(1), f"{_MAX_ITEMS}", is_readonly=True),
        Key.METER_VALUES_SAMPLED_DATA: Rule(measurands, sampled, length_key=Key.METER_VALUES_SAMPLED_DATA_MAX_LENGTH),
        Key.METER_VALUES_SAMPLED_DATA_MAX_LENGTH: Rule(_integer(1), f"{_MAX_ITEMS}", is_readonly=True),
        Key.METER_VALUE_SAMPLE_INTERVAL: Rule(_integer(0, _DAY), "60"),
        Key.MINIMUM_STATUS_DURATION: Rule(_integer(0, _DAY), "0"),
        Key.NUMBER_OF_CONNECTORS: Rule(
            _integer(make.connectors, make.connectors), f"{make.connectors}", is_readonly=True
        ),
        Key.RESET_RETRIES: Rule(_integer(0), "3"),
        # The first and the last one are never dropped (core errata 3.91).
        Key.STOP_TRANSACTION_MAX_METER_VALUES: Rule(_integer(2), "100", is_readonly=True),
        Key.STOP_TRANSACTION_ON_EV_SIDE_DISCONNECT: Rule(_boolean, yes),
        Key.STOP_TRANSACTION_ON_INVALID_ID: Rule(_boolean, yes),
        Key.STOP_TXN_ALIGNED_DATA: Rule(measurands, "", length_key=Key.STOP_TXN_ALIGNED_DATA_MAX_LENGTH),
        Key.STOP_TXN_ALIGNED_DATA_MAX_LENGTH: Rule(_integer(1), f"{_MAX_ITEMS}", is_readonly=True),
        Key.STOP_TXN_SAMPLED_DATA: Rule(measurands, "", length_key=Key.STOP_TXN_SAMPLED_DATA_MAX_LENGTH),
        Key.STOP_TXN_SAMPLED_DATA_MAX_LENGTH: Rule(_integer(1), f"{_MAX_ITEMS}", is_readonly=True),
        Key.SUPPORTED_FEATURE_PROFILES: Rule(
            partial(_profiles, allowed=tuple(Profile)),
            profiles,
            is_readonly=True,
            length_key=Key.SUPPORTED_FEATURE_PROFILES_MAX_LENGTH,
        ),
        Key.SUPPORTED_FEATURE_PROFILES_MAX_LENGTH: Rule(_integer(1), f"{len(Profile)}", is_readonly=True),
        # 0 attempts would lose every transaction; 0 s between them would flood the central system.
        Key.TRANSACTION_MESSAGE_ATTEMPTS: Rule(_integer(1), "3"),
        Key.TRANSACTION_MESSAGE_RETRY_INTERVAL: Rule(_integer(1, _DAY), "60"),
        # A fixed cable: always false, never to be changed (core errata 3.84).
        Key.UNLOCK_CONNECTOR_ON_EV_SIDE_DISCONNECT: (
            Rule(_boolean, yes) if make.has_cable_lock and not make.is_dc else Rule(_false, no, is_readonly=True)
        ),
        Key.WEB_SOCKET_PING_INTERVAL: Rule(_integer(0, _DAY), "0"),
        # Local authorization list
        Key.LOCAL_AUTH_LIST_ENABLED: Rule(_boolean, yes, profile=lists),
        Key.LOCAL_AUTH_LIST_MAX_LENGTH: Rule(_integer(1), "1000", is_readonly=True, profile=lists),
        Key.SEND_LOCAL_LIST_MAX_LENGTH: Rule(_integer(1), "100", is_readonly=True, profile=lists),
        # Reservation
        Key.RESERVE_CONNECTOR_ZERO_SUPPORTED: Rule(_boolean, yes, is_readonly=True, profile=Profile.RESERVATION),
        # Smart charging
        Key.CHARGE_PROFILE_MAX_STACK_LEVEL: Rule(_integer(0), "10", is_readonly=True, profile=smart),
        Key.CHARGING_SCHEDULE_ALLOWED_CHARGING_RATE_UNIT: Rule(
            partial(_items, allowed=("Current", "Power")), "Current,Power", is_readonly=True, profile=smart
        ),
        Key.CHARGING_SCHEDULE_MAX_PERIODS: Rule(_integer(1), "24", is_readonly=True, profile=smart),
        Key.CONNECTOR_SWITCH_3_TO_1_PHASE_SUPPORTED: Rule(_boolean, yes, is_readonly=True, profile=smart),
        Key.MAX_CHARGING_PROFILES_INSTALLED: Rule(_integer(1), "10", is_readonly=True, profile=smart),
        # Firmware management
        Key.SUPPORTED_FILE_TRANSFER_PROTOCOLS: Rule(
            partial(_items, allowed=("FTP", "FTPS", "HTTP", "HTTPS")),
            "FTP,FTPS,HTTP,HTTPS",
            is_readonly=True,
            profile=Profile.FIRMWARE_MANAGEMENT,
        ),
        # Security; what it extends is Core
        Key.ADDITIONAL_ROOT_CERTIFICATE_CHECK: Rule(_boolean, no, is_readonly=True),
        Key.AUTHORIZATION_KEY: Rule(_authorization_key, "", is_writeonly=True),
        Key.CERTIFICATE_SIGNED_MAX_CHAIN_SIZE: Rule(_integer(1, 10_000), "10000", is_readonly=True),
        Key.CERTIFICATE_STORE_MAX_LENGTH: Rule(_integer(1), "10", is_readonly=True),
        Key.CPO_NAME: Rule(partial(_text, most=_MAX_ORGANIZATION), ""),
        Key.SECURITY_PROFILE: Rule(_integer(0, 3), "0"),
    }
    if phases == 1:
        del table[Key.CONNECTOR_SWITCH_3_TO_1_PHASE_SUPPORTED]
    return table


def text_of(value: Value) -> str:
    """Return a value as it goes out in GetConfiguration.conf (core 7.29)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(f"{item.measurand}.{item.phase}" if item.phase else f"{item.measurand}" for item in value)
    return str(value)


def split_items(text: str) -> list[str]:
    """Return the items of a comma separated list; an empty text has none. Spaces around an item do not count."""
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _integer(least: int, most: int = _MAX_INTEGER) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"not an integer from {least} to {most}: {text[:40]!r}")

    return parse


def _boolean(text: str) -> bool:
    # A CiString500Type: case does not count.
    value = {"true": True, "false": False}.get(text.lower())
    if value is None:
        raise ValueError(f"neither 'true' nor 'false': {text[:40]!r}")
    return value


def _false(text: str) -> bool:
    if text.lower() != "false":
        raise ValueError(f"with a fixed cable nothing but 'false': {text[:40]!r}")
    return False


def _text(text: str, *, most: int = MAX_VALUE_LENGTH) -> str:
    if len(text) > most:
        raise ValueError(f"longer than {most} characters")
    return text


def _authorization_key(text: str) -> str:
    # The message does not repeat the password (whitepaper A01.FR.12).
    if len(text) not in range(32, 41, 2) or not _HEX_DIGITS.issuperset(text):
        raise ValueError("not 16 to 20 bytes in hexadecimal digits")
    return text


def _items(text: str, *, allowed: tuple[str, ...]) -> str:
    spelling = {item.casefold(): item for item in allowed}
    found: list[str] = []
    for item in split_items(text):
        name = spelling.get(item.casefold())
        if name is None:
            raise ValueError(f"not one of {', '.join(allowed)}: {item[:40]!r}")
        if name in found:
            raise ValueError(f"{name} twice")
        found.append(name)
    if not found:
        raise ValueError(f"none of {', '.join(allowed)}")
    return ",".join(found)


def _profiles(text: str, *, allowed: tuple[str, ...]) -> str:
    # Every charge point has the Core profile (core 3.3).
    value = _items(text, allowed=allowed)
    if Profile.CORE not in value.split(","):
        raise ValueError("Core is missing")
    return value


_ROTATIONS: Final = ("NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR")
_ROTATION: Final = {rotation.casefold(): rotation for rotation in _ROTATIONS}


def _phase_rotation(text: str, *, connectors: int) -> str:
    found: dict[int, str] = {}
    for item in split_items(text):
        number, _, name = item.partition(".")
        rotation = _ROTATION.get(name.casefold())
        connector_id = _integer(0, connectors)(number)
        if rotation is None:
            raise ValueError(f"not one of {', '.join(_ROTATIONS)}: {name[:40]!r}")
        if connector_id in found:
            raise ValueError(f"connector {connector_id} twice")
        found[connector_id] = rotation
    return ",".join(f"{connector_id}.{rotation}" for connector_id, rotation in found.items())


def _usual_phase_rotation(connectors: int, phases: int) -> str:
    rotation = "RST" if phases == 3 else "NotApplicable"
    text = ",".join(f"{connector_id}.{rotation}" for connector_id in range(1, connectors + 1))
    # Of a great many connectors, only as many as a value can hold.
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH + 1].rpartition(",")[0]
