"""What a charge point offers when it connects: no compression, and TLS as the whitepaper wants it."""

from __future__ import annotations

import socket
import ssl

from ampswarm.charge_point.security import Security
from ampswarm.load.credentials import TlsContexts
from ampswarm.load.transport import Connector, Resolver
from ampswarm.ocppj.identity import Endpoint
from tests.fakes.peer import ScriptedPeer, read_frame, read_request, upgraded

ECDSA = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"}
RSA = {"AES128-GCM-SHA256", "AES256-GCM-SHA384"}


def contexts() -> TlsContexts:
    return TlsContexts(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def test_no_compression_is_offered() -> None:
    """J 5.1: none but what RFC 6455 allows; a central system could not agree on what is not offered."""
    requests: list[str] = []

    def script(sock: socket.socket) -> None:
        request = read_request(sock)
        requests.append(request.decode().lower())
        sock.sendall(upgraded(request))
        read_frame(sock)

    with ScriptedPeer(script) as peer:
        endpoint = Endpoint("ws", "127.0.0.1", peer.port, "/ocpp")
        Connector(Resolver(), contexts(), 5.0).connect(endpoint, "CP1").close(5.0)
    assert len(requests) == 1
    assert "sec-websocket-extensions" not in requests[0]
    assert "deflate" not in requests[0]


def test_the_cipher_suites_of_the_whitepaper_are_offered_and_no_weak_ones() -> None:
    """A00.FR.318, A00.FR.319, A00.FR.422, A00.FR.423: at least the ECDSA pair or the RSA pair; nothing outdated."""
    for profile in (2, 3):
        context = contexts().context_for(Security(profile, password=b"p" * 16), 0.0)
        offered = {each["name"] for each in context.get_ciphers()}
        assert offered >= ECDSA or offered >= RSA
        for weak in ("NULL", "RC4", "3DES", "DES-CBC", "MD5", "EXP"):
            assert not [name for name in offered if weak in name]


def test_tls_itself_is_at_least_1_2_and_does_not_compress() -> None:
    """A00.FR.312, A00.FR.320, A00.FR.416, A00.FR.424."""
    for profile in (2, 3):
        context = contexts().context_for(Security(profile, password=b"p" * 16), 0.0)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_COMPRESSION
