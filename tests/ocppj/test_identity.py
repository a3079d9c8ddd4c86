"""Identities survive the way through a URL; endpoints and subprotocols are read as J 3 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.ocppj.identity import (
    InvalidEndpoint,
    InvalidIdentity,
    encode_identity,
    identity_from_path,
    negotiate_subprotocol,
    parse_endpoint,
)

IDENTITIES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255).filter(
    lambda text: text not in {".", ".."}
)


@given(IDENTITIES, st.sampled_from(["", "/ocpp", "/a/b%20c/ocpp"]))
def test_an_identity_is_the_same_on_both_ends_of_the_url(identity: str, path: str) -> None:
    """J 3.1.1: whatever characters a serial number has, the central system reads the same one."""
    url = parse_endpoint(f"ws://cs.example.com{path}").connection_url(identity)
    assert url.isascii()
    assert identity == identity_from_path(url.removeprefix("ws://cs.example.com:80"))


@pytest.mark.parametrize(
    ("endpoint", "identity", "url"),
    [
        ("ws://centralsystem.example.com/ocpp", "CP001", "ws://centralsystem.example.com:80/ocpp/CP001"),
        (
            "wss://centralsystem.example.com/ocppj",
            "RDAM 123",
            "wss://centralsystem.example.com:443/ocppj/RDAM%20123",
        ),
        ("ws://[::1]:9000/", "CP/1", "ws://[::1]:9000/CP%2F1"),
    ],
)
def test_connection_urls_are_the_specification_s(endpoint: str, identity: str, url: str) -> None:
    """J 3.1.1, examples 1 and 2."""
    assert url == parse_endpoint(endpoint).connection_url(identity)


@pytest.mark.parametrize("path", ["", "/", "/ocpp/", "/%ff", "/ocpp/?token=1", "/..", "/" + "x" * 256])
def test_a_path_without_a_usable_identity_names_no_charge_point(path: str) -> None:
    """J 3.2: it is answered with 404; the server must recognise it, not fail."""
    with pytest.raises(InvalidIdentity):
        identity_from_path(path)


@pytest.mark.parametrize("identity", ["", "\ud800", "x" * 256, "."])
def test_an_identity_that_no_url_can_carry_is_refused(identity: str) -> None:
    """A bad identity format must be found before the first connection."""
    with pytest.raises(InvalidIdentity):
        encode_identity(identity)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://localhost:8080", "must start with ws:// or wss://"),
        ("localhost:8080", "must start with ws:// or wss://"),
        ("ws://", "names no host"),
        ("ws://a b:80", "names no host"),
        ("ws://host:0", "port 0"),
        ("ws://host:99999", "is not a URL"),
        ("ws://[::1", "is not a URL"),
        ("ws://host/path?x=1", "no query"),
        ("ws://user:secret@host", "password"),
    ],
)
def test_a_bad_endpoint_is_one_clear_line(url: str, said: str) -> None:
    """The user's mistake is named; a password is not repeated."""
    with pytest.raises(InvalidEndpoint) as caught:
        parse_endpoint(url)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("offers", "agreed"),
    [
        (["ocpp1.6"], "ocpp1.6"),
        (["ocpp2.0.1, ocpp1.6"], "ocpp1.6"),
        (["ocpp2.0.1", "ocpp1.6"], "ocpp1.6"),
        (["ocpp1.5"], None),
        (["OCPP1.6"], None),
        ([], None),
    ],
)
def test_the_subprotocol_is_agreed_on_only_if_it_is_offered(offers: list[str], agreed: str | None) -> None:
    """J 3.1.2 and 3.2."""
    assert agreed == negotiate_subprotocol(offers)
