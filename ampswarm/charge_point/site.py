"""What the connectors of a charge point need of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ampswarm.charge_point.charging_profile import ChargingProfile
    from ampswarm.charge_point.configuration import Configuration
    from ampswarm.charge_point.connector import Connector
    from ampswarm.charge_point.events import StationEvent
    from ampswarm.charge_point.id_tags import IdTagInfo, Verdict
    from ampswarm.charge_point.smart_charging import ChargingProfiles
    from ampswarm.charge_point.template import Template
    from ampswarm.charge_point.transaction import Transaction
    from ampswarm.ocppj.frames import Payload

IdTagAnswer = Callable[["IdTagInfo | None", float], None]
"""Takes what the central system says of an id tag, or `None`, and the time."""


class Site(Protocol):
    """What the connectors need of their charge point."""

    identity: str
    template: Template
    configuration: Configuration
    profiles: ChargingProfiles | None

    @property
    def is_online(self) -> bool:
        """Whether the central system can be asked."""

    @property
    def is_running(self) -> bool:
        """Whether it has power and is not rebooting."""

    @property
    def may_charge(self) -> bool:
        """Whether it runs, and was ever accepted (core 4.2.1)."""

    def utc(self, now: float) -> float:
        """Return its clock, in seconds since 1970."""

    def decide(self, id_tag: str, now: float, *, is_online: bool) -> tuple[Verdict, IdTagInfo | None]:
        """Return what local list, cache and configuration say of an id tag (core 3.5)."""

    def authorize(self, id_tag: str, now: float, done: IdTagAnswer) -> None:
        """Send Authorize.req; `done` gets `None` when there was no usable answer."""

    def submit(self, action: str, transaction: Transaction, payload: Payload, now: float) -> None:
        """Send a transaction message in its turn (core 3.7)."""

    def notify(self, action: str, payload: Payload, now: float, *, is_kept: bool = False) -> None:
        """Send another message as soon as possible."""

    def report_status(self, connector: Connector, now: float) -> None:
        """Send StatusNotification with the present status."""

    def observe(self, event: StationEvent) -> None:
        """Tell whoever measures."""

    def transactions_ended(self, now: float) -> None:
        """No transaction runs any more."""

    def install_profile(self, connector_id: int, profile: ChargingProfile, now: float) -> None:
        """Keep the charging profile that came with RemoteStartTransaction.req (core 5.16.2).

        Raises:
            InvalidProfile: there are too many.
        """
