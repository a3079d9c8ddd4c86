"""How many sockets of this process are connected to where, and whether the system gave it no more."""

from __future__ import annotations

import errno
from collections import Counter
from typing import Any, Final

_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})


class SocketCensus:
    """Counts as sockets open and close: to look at thousands of them each second would stop their loop."""

    def __init__(self) -> None:
        self.by_address: Counter[Any] = Counter()
        """Sockets by remote address, from the moment at which they begin to connect."""
        self.source_addresses = 1
        """From how many of this host's addresses they connect in turn."""
        self.without_file = 0
        """How often none could be opened."""
        self.without_port = 0
        """How often no port was free."""

    def note_failure(self, error: Exception) -> None:
        """A connection could not be made: count it where this process had no file left."""
        if isinstance(error, OSError) and error.errno in _NO_FILES:
            self.without_file += 1

    def note_no_port(self, code: int, address: object) -> None:
        """A socket could not be connected: count it where there was no port left.

        A host without IPv6 has the same error for any IPv6 address; it never had a connection there.
        """
        if code == errno.EADDRNOTAVAIL and self.by_address.get(address):
            self.without_port += 1

    def closed(self, address: object) -> None:
        """A socket was closed."""
        self.by_address[address] -= 1
        if self.by_address[address] <= 0:
            del self.by_address[address]


CENSUS: Final = SocketCensus()
"""Of this process."""
