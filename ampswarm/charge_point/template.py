"""What all charge points of one make have in common; one object for a whole population."""

from __future__ import annotations

from dataclasses import dataclass, field

from ampswarm.charge_point.backoff import Backoff
from ampswarm.charge_point.configuration import Defaults, Key, Make
from ampswarm.charge_point.ping_watch import PingWatchRule
from ampswarm.charge_point.smart_charging import Supply
from ampswarm.ocppj.frames import Payload

AC_VOLTAGE = 230.0
"""Volts from phase to neutral."""
DC_VOLTAGE = 400.0
"""Volts at a DC connector."""


@dataclass(frozen=True, slots=True)
class Template:
    """A make of charge point: what it is and how it behaves. Times in seconds, power in W."""

    vendor: str = "Ampswarm"
    model: str = "Swarm 22"
    firmware_version: str = "1.0.0"
    serial_number: str = "{identity}"
    """With `{identity}` where the identity goes; 25 characters of it are sent (core 6.3)."""
    iccid: str = ""
    imsi: str = ""
    meter_type: str = ""
    meter_serial_number: str = ""
    connectors: int = 1
    """Connectors that an EV can be plugged into; connector 0 comes on top."""
    is_dc: bool = False
    power: float = 22_000.0
    """What each connector can give."""
    phases: int = 3
    """Of an AC charge point: 1 or 3."""
    voltage: float = 0.0
    """V from phase to neutral, or at the DC connector; 0 takes what is usual."""
    has_cable_lock: bool = True
    """Whether the EV's own cable is plugged into a socket that locks it. Never so with DC."""
    settings: tuple[tuple[str, str], ...] = ()
    """Configuration keys that differ from the usual (core chapter 9)."""
    vendor_keys: tuple[tuple[str, str], ...] = ()
    """Configuration keys of the vendor's own."""
    reboot_required: frozenset[str] = frozenset()
    """Names of the configuration keys whose change takes effect with the next reboot (core 7.22)."""
    security_profile: int = 0
    """0 for none, 1 to 3 as in whitepaper 2.1."""
    boot_retry_interval: float = 60.0
    """Between two BootNotifications where the central system leaves the time to the charge point
    (core 4.2: an `interval` of 0), or gave no usable answer. Half of it is jitter."""
    reboot_time: float = 10.0
    """From the end of a connection to power-on after a Reset. Half of it is jitter."""
    call_timeout: float = 30.0
    """After which a Call without an answer has failed (J 4.1.1), unless MessageTimeout says otherwise."""
    drain_interval: float = 0.1
    """At least so much between two transaction messages that were queued while offline: a fleet that
    comes back must not send what it kept in one burst."""
    outbox_capacity: int = 1000
    """Transaction messages that are kept; beyond it, MeterValues go, never starts and stops
    (core errata 3.14)."""
    cache_capacity: int = 100
    """Id tags in the authorization cache (core 3.5.1)."""
    download_time: float = 30.0
    """Of a firmware image."""
    install_time: float = 30.0
    """Of a firmware image, until the reboot."""
    upload_time: float = 10.0
    """Of diagnostics or a log."""
    backoff: Backoff = Backoff()
    ping_watch: PingWatchRule = PingWatchRule()
    clock_error: float = 0.0
    """What its clock is off by, even when the central system has just told the time."""
    defaults: Defaults = field(init=False, compare=False, repr=False)
    """The configuration of a charge point as it leaves the factory."""
    supply: Supply = field(init=False, compare=False, repr=False)
    """What a connector can give."""

    def __post_init__(self) -> None:
        voltage = self.voltage or (DC_VOLTAGE if self.is_dc else AC_VOLTAGE)
        phases = 1 if self.is_dc else self.phases
        make = Make(
            connectors=self.connectors,
            is_dc=self.is_dc,
            phases=phases,
            has_cable_lock=self.has_cable_lock and not self.is_dc,
        )
        settings = {"MessageTimeout": f"{max(1, round(self.call_timeout))}", **dict(self.settings)}
        if self.security_profile:
            settings["SecurityProfile"] = f"{self.security_profile}"
        vendor_keys = dict(self.vendor_keys)
        defaults = Defaults(make, settings, vendor_keys=vendor_keys, reboot_required=self.reboot_required)
        object.__setattr__(self, "defaults", defaults)
        if any(name.casefold() == Key.MESSAGE_TIMEOUT.casefold() for name, _ in self.settings):
            object.__setattr__(self, "call_timeout", float(self.defaults.values[Key.MESSAGE_TIMEOUT]))
        object.__setattr__(self, "supply", Supply(self.power, voltage, phases))

    @property
    def locks_cables(self) -> bool:
        """Whether a driver's own cable is locked into a socket."""
        return self.has_cable_lock and not self.is_dc

    def boot_notification(self, identity: str, firmware_version: str = "") -> Payload:
        """Return BootNotification.req (core 6.3) of the charge point `identity`."""
        payload = {
            "chargePointVendor": self.vendor,
            "chargePointModel": self.model,
            "chargePointSerialNumber": self.serial_number.format(identity=identity)[:25],
            "firmwareVersion": firmware_version or self.firmware_version,
        }
        for name, value in (
            ("iccid", self.iccid),
            ("imsi", self.imsi),
            ("meterType", self.meter_type),
            ("meterSerialNumber", self.meter_serial_number),
        ):
            if value:
                payload[name] = value.format(identity=identity)
        return payload
