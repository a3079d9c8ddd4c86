"""What a charge point consists of, each part made when it is first needed, and what the parts ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING

from ampswarm.charge_point import security_commands
from ampswarm.charge_point.charging import Charging
from ampswarm.charge_point.charging_profile import Capabilities, ChargingProfile, RateUnit
from ampswarm.charge_point.configuration import Configuration, Key
from ampswarm.charge_point.connector import NEVER
from ampswarm.charge_point.id_tags import AuthorizationCache, IdTagInfo, LocalList, Verdict, decide, remember
from ampswarm.charge_point.maintenance import Maintenance
from ampswarm.charge_point.security import Security, SecurityEvent, security_event_notification
from ampswarm.charge_point.site import IdTagAnswer
from ampswarm.charge_point.smart_charging import ChargingProfiles
from ampswarm.ocppj.frames import Payload

if TYPE_CHECKING:
    from ampswarm.charge_point.calls import Calls
    from ampswarm.charge_point.connector import Connector
    from ampswarm.charge_point.events import StationEvent
    from ampswarm.charge_point.notice import Done
    from ampswarm.charge_point.template import Template
    from ampswarm.charge_point.transaction import Transaction


class Parts(ABC):
    """Connectors, lists, charging profiles, firmware and credentials of one charge point.

    All of it outlives reboots and lost power; whether there is power, and whom one can talk to, is the
    `ChargePoint`'s to know.
    """

    __slots__ = (
        "_cache",
        "_calls",
        "_local_list",
        "_maintenance",
        "_renew_at",
        "_security",
        "configuration",
        "connectors",
        "identity",
        "profiles",
        "random",
        "template",
    )

    _calls: Calls

    def __init__(self, identity: str, template: Template, *, random: Random, security: Security | None) -> None:
        self.identity = identity
        self.template = template
        self.random = random
        self.configuration = Configuration(template.defaults)
        self.profiles: ChargingProfiles | None = None
        """Made when the first charging profile comes."""
        self.connectors: Charging | None = None
        """Made when the first of them is used."""
        self._security = security
        self._renew_at = NEVER
        self._maintenance: Maintenance | None = None
        self._local_list: LocalList | None = None
        self._cache: AuthorizationCache | None = None

    # -- what the charge point knows ----------------------------------------------------------

    firmware_version: str

    @property
    @abstractmethod
    def is_online(self) -> bool:
        """Whether it is connected and accepted, so that it can do its work."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it has power and is not rebooting."""

    @property
    @abstractmethod
    def may_charge(self) -> bool:
        """Whether anybody may start to charge."""

    @abstractmethod
    def utc(self, now: float) -> float:
        """Return what its own clock shows, in seconds since 1970."""

    @abstractmethod
    def observe(self, event: StationEvent) -> None:
        """Put an event where the adapter takes it."""

    @abstractmethod
    def restart(self, now: float) -> None:
        """Reboot of its own accord."""

    @abstractmethod
    def reconnect(self, now: float) -> None:
        """Close the connection once all answers are out, and open another one."""

    # -- its parts ----------------------------------------------------------------------------

    def charging(self, now: float) -> Charging:
        """Return its connectors, made when they are first needed."""
        if self.connectors is None:
            self.connectors = Charging(self, now)
        return self.connectors

    @property
    def maintenance(self) -> Maintenance:
        """Firmware, diagnostics and logs, made when first needed."""
        if self._maintenance is None:
            self._maintenance = Maintenance(self)
        return self._maintenance

    @property
    def security(self) -> Security:
        """What it proves itself with, made when first needed."""
        if self._security is None:
            self._security = security_commands.factory_security(self.configuration)
        return self._security

    @property
    def has_security(self) -> bool:
        """Whether it was given, or has used, anything of the security extension."""
        return self._security is not None

    @property
    def local_list(self) -> LocalList:
        """The local authorization list, made when first needed."""
        if self._local_list is None:
            self._local_list = LocalList()
        return self._local_list

    @property
    def capabilities(self) -> Capabilities:
        """What it can do with charging profiles (core 9.4)."""
        configuration = self.configuration
        allowed = configuration.text(Key.CHARGING_SCHEDULE_ALLOWED_CHARGING_RATE_UNIT)
        names = {"Current": RateUnit.A, "Power": RateUnit.W}
        return Capabilities(
            max_stack_level=configuration.integer(Key.CHARGE_PROFILE_MAX_STACK_LEVEL),
            max_periods=configuration.integer(Key.CHARGING_SCHEDULE_MAX_PERIODS),
            max_installed=configuration.integer(Key.MAX_CHARGING_PROFILES_INSTALLED),
            units=frozenset(unit for name, unit in names.items() if name in allowed),
        )

    def has_transactions(self) -> bool:
        """Return whether any transaction runs."""
        return self.connectors is not None and self.connectors.has_transactions

    # -- what its parts ask for ---------------------------------------------------------------

    def decide(self, id_tag: str, now: float, *, is_online: bool) -> tuple[Verdict, IdTagInfo | None]:
        """Return what local list, cache and configuration say of an id tag (core 3.5)."""
        return decide(
            id_tag,
            self.utc(now),
            is_online=is_online,
            configuration=self.configuration,
            local_list=self._local_list,
            cache=self._cache,
        )

    def authorize(self, id_tag: str, now: float, done: IdTagAnswer) -> None:
        """Send Authorize.req (core 4.1); `done` gets `None` when there was no usable answer."""

        def answered(payload: Payload | None, when: float) -> None:
            info = None
            if payload is not None:
                info = self.learn(id_tag, payload, when)
            done(info, when)

        self.notify("Authorize", {"idTag": id_tag}, now, done=answered)

    def learn(self, id_tag: str, payload: Payload, now: float) -> IdTagInfo | None:
        """Take the idTagInfo of an answer, if it has one: into the cache, or as a conflict (core 3.5.1, 3.5.2)."""
        if "idTagInfo" not in payload:
            return None
        try:
            info = IdTagInfo.from_payload(payload["idTagInfo"])
        except ValueError:
            # An end that is no date ends nothing.
            told = payload["idTagInfo"]
            info = IdTagInfo.from_payload({name: told[name] for name in told if name != "expiryDate"})
        if self._cache is None and self.configuration.boolean(Key.AUTHORIZATION_CACHE_ENABLED):
            self._cache = AuthorizationCache(self.template.cache_capacity)
        remember(
            id_tag,
            info,
            self.utc(now),
            configuration=self.configuration,
            local_list=self._local_list,
            cache=self._cache,
        )
        if self._local_list is not None and self._local_list.conflicts(id_tag, info, self.utc(now)):
            # Core 3.5.2.
            conflict = self._calls.status_of(0, now) | {"errorCode": "LocalListConflict"}
            self.notify("StatusNotification", conflict, now)
        return info

    def clear_cache(self) -> bool:
        """Forget who was authorized; False without a cache (core 5.4, errata 3.23)."""
        if not self.configuration.boolean(Key.AUTHORIZATION_CACHE_ENABLED):
            return False
        if self._cache is not None:
            self._cache.clear()
        return True

    def submit(self, action: str, transaction: Transaction, payload: Payload, now: float) -> None:
        """Send a transaction message in its turn (core 3.7)."""
        self._calls.submit(action, transaction, payload, now)

    def notify(
        self, action: str, payload: Payload, now: float, *, is_kept: bool = False, done: Done | None = None
    ) -> None:
        """Send another message as soon as possible: see `Calls.notify`."""
        self._calls.notify(action, payload, now, is_kept=is_kept, done=done)

    def report_status(self, connector: Connector, now: float) -> None:
        """Send StatusNotification with the present status of a connector."""
        self._calls.report_status(connector, now)

    def trigger(
        self, action: str, now: float, connector_ids: Iterable[int] = (0,), payload: Payload | None = None
    ) -> bool:
        """Send a message that TriggerMessage asked for: see `Calls.trigger`."""
        return self._calls.trigger(action, now, connector_ids, payload)

    def start_confirmed(self, transaction: Transaction, payload: Payload, now: float) -> None:
        """Take StartTransaction.conf (core 4.8)."""
        info = self.learn(transaction.id_tag, payload, now)
        assert info is not None  # the schema demands it
        self.charging(now).start_confirmed(transaction, payload["transactionId"], info, now)

    def install_profile(self, connector_id: int, profile: ChargingProfile, now: float) -> None:
        """Install a charging profile (core 5.16).

        Raises:
            InvalidProfile: there are too many, or it is not for this connector.
        """
        if self.profiles is None:
            self.profiles = ChargingProfiles()
        self.profiles.install(connector_id, profile, self.capabilities, self.utc(now))

    def transactions_ended(self, now: float) -> None:
        """No transaction runs any more."""
        if self._maintenance is not None:
            self._maintenance.transactions_ended(now)

    def connectors_changed(self, now: float) -> None:
        """An installation wants the free connectors, or no longer (core errata 3.49)."""
        self.charging(now).withhold(now, is_withheld=self.maintenance.wants_connectors)

    def verify_firmware_certificate(self, pem: str, now: float) -> str:
        """Return Accepted, InvalidCertificate or RevokedCertificate (whitepaper L01.FR.23)."""
        security = self._security or security_commands.factory_security(self.configuration)
        return security.verify_firmware_certificate(pem, self.utc(now)).value

    def security_event(self, event: str, now: float, tech_info: str = "") -> None:
        """Tell the central system of a security event that it must know, whenever it can (whitepaper A04, L01).

        Not from a charge point that knows nothing of the security extension.
        """
        kind = SecurityEvent(event)
        if self.has_security and kind.is_told:
            payload = security_event_notification(kind, self.utc(now), tech_info)
            self.notify("SecurityEventNotification", payload, now, is_kept=True)

    def security_changed(self, now: float) -> None:
        """A certificate came or went: look anew when it has to be renewed, or is to be used (whitepaper A02, A03)."""
        self._renew_at = NEVER
        if self._security is None:
            return
        utc = self.utc(now)
        due, begins = self._security.renewal_due, self._security.next_credential(utc)
        if due is not None:
            self._renew_at = max(now, now + due - utc)
        if begins is not None:
            # A second later, so that no rounding makes it too early.
            self._renew_at = min(self._renew_at, now + begins - utc + 1.0)
