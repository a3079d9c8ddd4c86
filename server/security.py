"""Who may connect to a running central system, and how much: what the options ask for, put together."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable

from ampswarm.lifecycle import LifecycleLog
from server.acceptor import Acceptor, bind
from server.authentication import PasswordCheck, PasswordSource
from server.handshake import Handshakes, Open, Report, Status
from server.limits import Admission, TrustedProxies
from server.password_file import BadPasswordFile, PasswordFile
from server.records import Registered
from server.security_options import SecurityOptions
from server.tls import BadTls, server_context


class BadSecurity(ValueError):  # noqa: N818  one line for whoever starts the process
    """Files about who may connect that cannot be used."""


class Security:
    """Passwords, certificates and limits of a process; reads their files.

    Args:
        options: what is asked for.
        lifecycle: where it is logged that files were read again.
        passwords: where hashes are, instead of the options' file; `None` for that file, if any.

    Raises:
        BadSecurity: with one line that names the file.
    """

    def __init__(
        self, options: SecurityOptions, lifecycle: LifecycleLog, *, passwords: PasswordSource | None = None
    ) -> None:
        self._options = options
        self._lifecycle = lifecycle
        self._file: PasswordFile | None = None
        self._reading: asyncio.Task[None] | None = None
        sample: str | None = None
        try:
            if passwords is None and options.password_file is not None:
                passwords = self._file = PasswordFile(options.password_file)
                sample = self._file.sample()
            self.passwords = None if passwords is None else PasswordCheck(passwords, sample)
            """What checks passwords; `None` where none are asked for."""
            self._tls = self._new_context() if options.tls_certificates else None
        except (BadPasswordFile, BadTls) as bad:
            raise BadSecurity(str(bad)) from None

    def handshakes(
        self,
        report: Report,
        open_websocket: Open,
        is_closing: Callable[[], bool],
        status: Status | None,
        recall: Callable[[str], Awaitable[Registered]] | None = None,
    ) -> Handshakes:
        """Return what all connections begin with. See Handshakes."""
        options = self._options
        is_counted = options.max_connections or options.max_connections_per_address
        return Handshakes(
            report=report,
            open_websocket=open_websocket,
            is_closing=is_closing,
            status=status,
            timeout=options.handshake_timeout,
            admission=Admission(options.max_connections, options.max_connections_per_address) if is_counted else None,
            upgrades_per_second=options.max_handshakes_per_second,
            proxies=TrustedProxies(options.trusted_proxies) if options.trusted_proxies else None,
            passwords=self.passwords,
            organization=options.tls_client_organization,
            recall=recall,
        )

    async def listen_tls(
        self, handshakes: Handshakes, host: str, port: int, *, reuse_port: bool = False
    ) -> Acceptor | None:
        """Accept connections with TLS; return `None` where there is no certificate for that.

        Raises:
            OSError: the address cannot be listened on.
            UnicodeError: `host` cannot be a name at all.
        """
        if self._tls is None:
            return None
        return Acceptor(handshakes, await bind(host, port, reuse_port=reuse_port), lambda: self._context)

    def reread(self) -> None:
        """Read certificates and passwords again, for connections from now on; keep those that cannot be."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._reread())

    def close(self) -> None:
        """Verify nothing any more."""
        if self.passwords is not None:
            self.passwords.close()

    @property
    def _context(self) -> ssl.SSLContext:
        assert self._tls is not None
        return self._tls

    def _new_context(self) -> ssl.SSLContext:
        options = self._options
        return server_context(options.tls_certificates, options.tls_client_ca, needs_certificate=self.passwords is None)

    async def _reread(self) -> None:
        mistakes: list[str] = []
        if self._tls is not None:
            try:
                self._tls = self._new_context()
            except BadTls as bad:
                mistakes.append(str(bad))
        if self._file is not None and self.passwords is not None:
            try:
                # A million lines take seconds, which charge points need not wait for.
                self._file.replace(await asyncio.to_thread(self._file.read))
                self.passwords.cost_like(self._file.sample())
            except BadPasswordFile as bad:
                mistakes.append(str(bad))
        fields: dict[str, object] = {} if self._file is None else {"passwords": len(self._file)}
        if mistakes:
            fields["error"] = "; ".join(mistakes)
        self._lifecycle.write("reread", time.monotonic(), **fields)
