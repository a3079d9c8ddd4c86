"""Who has reserved which connector (core 3.11, 5.1, 5.13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ampswarm.charge_point.id_tags import same_id_tag

if TYPE_CHECKING:
    from ampswarm.charge_point.connector import Connector


@dataclass(frozen=True, slots=True)
class Reservation:
    """A connector kept for somebody; on connector 0, any one connector."""

    reservation_id: int
    id_tag: str
    parent_id_tag: str | None
    expires: float
    """Seconds since 1970."""

    def is_for(self, id_tag: str, parent_id_tag: str | None) -> bool:
        """Return whether this id tag, or one of its group, may use it (core 3.10, 5.13)."""
        if same_id_tag(id_tag, self.id_tag):
            return True
        if self.parent_id_tag is None or parent_id_tag is None:
            return False
        return same_id_tag(self.parent_id_tag, parent_id_tag)


def find(connectors: Mapping[int, Connector], reservation_id: int) -> Connector | None:
    """Return the connector that has a reservation; 0 stands for any one."""
    for connector in connectors.values():
        if connector.reservation is not None and connector.reservation.reservation_id == reservation_id:
            return connector
    return None


def status_of(connectors: Mapping[int, Connector], last: int, connector_id: int, reservation_id: int) -> str:
    """Return what ReserveNow.conf says to a reservation (core 5.13).

    Args:
        connectors: those that were ever used.
        last: the number of connectors.
        connector_id: what is to be reserved; 0 for any one.
        reservation_id: a reservation with the same id is replaced, and so not in the way.
    """
    main, connector = connectors.get(0), connectors.get(connector_id)
    concerned = [each for each in (main, connector) if each is not None]
    if any(each.is_faulted for each in concerned):
        return "Faulted"
    if not all(each.is_operative for each in concerned):
        return "Unavailable"
    if connector is not None and _is_taken(connector, reservation_id):
        return "Occupied"
    if connector_id:
        any_one = None if main is None else main.reservation
        if any_one is None or any_one.reservation_id == reservation_id:
            return "Accepted"
        return "Accepted" if _one_remains(connectors, last, connector_id) else "Occupied"
    if any(_is_usable(connectors, each, reservation_id) for each in range(1, last + 1)):
        return "Accepted"
    used = [connectors[each] for each in range(1, last + 1)]
    if all(each.is_faulted for each in used):
        return "Faulted"
    return "Unavailable" if not any(each.is_operative for each in used) else "Occupied"


def _is_taken(connector: Connector, reservation_id: int) -> bool:
    other = connector.reservation
    if other is not None and other.reservation_id != reservation_id:
        return True
    if connector.is_free or not connector.connector_id:
        return False
    # A cable that is in a reserved connector does not keep the reservation from being replaced.
    return other is None or connector.authorized is not None


def _one_remains(connectors: Mapping[int, Connector], last: int, without: int) -> bool:
    """Return whether there is a connector for the reservation of any one, but for this one."""
    return any(_is_usable(connectors, each) for each in range(1, last + 1) if each != without)


def _is_usable(connectors: Mapping[int, Connector], connector_id: int, reservation_id: int | None = None) -> bool:
    """Return whether anybody could use a connector; the reservation `reservation_id` is not in the way."""
    connector = connectors.get(connector_id)
    if connector is None:
        return True
    reservation = connector.reservation
    return (
        connector.is_free
        and connector.is_operative
        and not connector.is_faulted
        and (reservation is None or reservation.reservation_id == reservation_id)
    )


def in_the_way(connectors: Mapping[int, Connector], last: int, connector: Connector) -> Reservation | None:
    """Return the reservation that keeps everybody else from a connector (core 5.13).

    One of any one connector does so only where no other connector remains for it.
    """
    if connector.reservation is not None:
        return connector.reservation
    main = connectors.get(0)
    if main is None or main.reservation is None or _one_remains(connectors, last, connector.connector_id):
        return None
    return main.reservation


def is_of_a_group(connectors: Mapping[int, Connector], connector: Connector, id_tag: str) -> bool:
    """Return whether it depends on the group of an id tag if it uses up a reservation (core 5.13)."""
    held = [each.reservation for each in (connector, connectors.get(0)) if each is not None]
    return any(each is not None and each.parent_id_tag is not None and not each.is_for(id_tag, None) for each in held)


def take(
    connectors: Mapping[int, Connector], connector: Connector, id_tag: str, parent_id_tag: str | None
) -> int | None:
    """End the reservation that a start uses; return its id, for StartTransaction.req (core 4.8)."""
    for each in (connector, connectors.get(0)):
        if each is not None and each.reservation is not None and each.reservation.is_for(id_tag, parent_id_tag):
            reservation_id = each.reservation.reservation_id
            each.reservation = None
            return reservation_id
    return None
