"""The operator API: who may use it, what it tells, and what can be set with it."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from trustme import CA, KeyType

from ampswarm.ocppj.timestamps import format_utc
from tests.processes import ROOT, TIMEOUT, CentralSystem, clean_environment, until
from tests.server.station import Answer, Station

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
TIME = "2026-01-01T00:00:00Z"
TOKEN = "s3cret-token"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for all tests that leave it as it was."""
    with CentralSystem(tmp_path_factory.mktemp("admin") / "cs.log", "--ping-interval-ms", "0") as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system of a test's own."""
    with CentralSystem(tmp_path / "cs.log", "--ping-interval-ms", "0") as running:
        yield running


def get(server: CentralSystem, path: str) -> Any:
    status, answer = server.request("GET", path)
    assert status == 200, answer
    return answer


def start(connector_id: int = 1, **more: Any) -> dict[str, Any]:
    return {"connectorId": connector_id, "idTag": "A", "meterStart": 1000, "timestamp": TIME, **more}


def stop(transaction_id: int, **more: Any) -> dict[str, Any]:
    return {"transactionId": transaction_id, "meterStop": 1500, "timestamp": TIME, **more}


def meter(transaction_id: int, *timestamps: str) -> dict[str, Any]:
    values = [{"timestamp": timestamp, "sampledValue": [{"value": "1500"}]} for timestamp in timestamps]
    return {"connectorId": 1, "transactionId": transaction_id, "meterValue": values}


def wait_until_gone(server: CentralSystem, identity: str) -> None:
    server.wait_for(lambda line: (line["event"], line.get("identity")) == ("disconnected", identity))


def ledger(server: CentralSystem) -> dict[str, int]:
    """Return what the ledger counted, without what it did not."""
    return {name: count for name, count in get(server, "/api/v1/ledger").items() if count}


# -- who may use it -----------------------------------------------------------------------------


def refuses_to_start(*args: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", "0", "--store", "memory", *args],
        cwd=ROOT,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost.example", ""])
def test_an_open_address_without_a_token_is_refused(host: str) -> None:
    """Nobody gives a fleet's controls to the whole network by mistake."""
    line = refuses_to_start("--admin-host", host)
    assert "--admin-host or ADMIN_HOST" in line
    assert "set ADMIN_TOKEN" in line


@pytest.mark.parametrize("host", ["", " "])
@pytest.mark.parametrize("is_variable", [True, False])
def test_an_empty_address_is_refused(host: str, *, is_variable: bool) -> None:
    """It would be every address: what a variable that was not filled in must not come to."""
    args, env = ([], {"WEB_SRV_HOST": host}) if is_variable else (["--host", host], {})
    done = subprocess.run(
        [sys.executable, "-m", "server", "--port", "0", "--store", "memory", *args],
        cwd=ROOT, env=clean_environment(env), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "--host or WEB_SRV_HOST: it is empty" in line


@pytest.mark.parametrize("token", ["with space", "ü", "a\tb"])
def test_a_token_that_no_header_can_bear_is_refused(token: str) -> None:
    """And the line does not show it."""
    line = refuses_to_start(env={"ADMIN_TOKEN": token})
    assert "ADMIN_TOKEN: a token is made of visible ASCII characters" in line
    assert token not in line


def test_the_token_is_no_option() -> None:
    """A command line is read by everybody on the host."""
    assert "unrecognized arguments" in refuses_to_start("--admin-token", TOKEN)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--admin-host", "no-such-host.invalid"], "cannot listen on no-such-host.invalid"),
        (["--admin-host", "x" * 70], "not a host name"),
        (["--admin-port", "70000"], "--admin-port or ADMIN_PORT: '70000' is not a port"),
        (["--csr-ca-cert", "ca.pem"], "--csr-ca-cert (CSR_CA_CERT) and --csr-ca-key (CSR_CA_KEY) need each other"),
        (["--csr-ca-cert", "no.pem", "--csr-ca-key", "no.pem"], "no.pem: No such file or directory"),
        (["--csr-ca-cert", "README.md", "--csr-ca-key", "README.md"], "README.md: "),
    ],
)
def test_a_mistake_is_one_line_and_status_2(args: list[str], said: str) -> None:
    """No traceback: what is wrong, and where."""
    assert said in refuses_to_start(*args, env={"ADMIN_TOKEN": TOKEN})


def test_a_port_in_use_is_one_line_and_status_2(server: CentralSystem) -> None:
    """Two central systems on one host: the second says which option to set."""
    line = refuses_to_start("--admin-port", str(server.admin_port))
    assert f"cannot listen on 127.0.0.1 port {server.admin_port} (--admin-host, --admin-port)" in line


def test_with_a_token_only_who_bears_it_is_answered(tmp_path: Path) -> None:
    """Everything but the health check, on a loopback address too."""
    with CentralSystem(tmp_path / "log", "--admin-host", "0.0.0.0", env={"ADMIN_TOKEN": TOKEN}) as server:
        for path in ("/api/v1/ledger", "/api/v1/charge-points/A/calls/Reset", "/openapi.json", "/metrics", "/nowhere"):
            for value in (
                None,
                "",
                "Bearer",
                f"Basic {TOKEN}",
                f"Bearer {TOKEN}x",
                "Bearer s3cret",
                f"Bearer {TOKEN} x",
            ):
                headers = {} if value is None else {"Authorization": value}
                status, answer = server.request("GET", path, headers=headers)
                assert (status, answer["error"]["code"]) == (401, "Unauthorized")
        for value in (f"Bearer {TOKEN}", f"bearer {TOKEN}"):
            assert server.request("GET", "/api/v1/ledger", headers={"Authorization": value})[0] == 200
        # A name that others know this host by: with a token, it may be anything.
        elsewhere = {"Authorization": f"Bearer {TOKEN}", "Host": "cs.example.com"}
        assert server.request("GET", "/api/v1/ledger", headers=elsewhere)[0] == 200
        assert server.request("GET", "/healthz")[0] == 200
    assert TOKEN not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "192.0.2.1", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_without_a_token_a_page_cannot_come_in_by_dns_rebinding(server: CentralSystem, host: str) -> None:
    """The browser of somebody on this host would send the page's own name."""
    status, answer = server.request("GET", "/api/v1/ledger", headers={"Host": host})
    assert (status, answer["error"]["code"]) == (403, "Forbidden")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8081", "127.0.0.1", "127.1.2.3:1", "[::1]", "[::1]:8081"])
def test_without_a_token_this_hosts_names_are_taken(server: CentralSystem, host: str) -> None:
    """Also through a tunnel that has another port on its other side."""
    assert server.request("GET", "/api/v1/ledger", headers={"Host": host})[0] == 200


def test_a_page_of_another_site_cannot_send_calls(server: CentralSystem) -> None:
    """Browsers let any page POST plain text to this host; but they say where it comes from."""
    with Station(server, "guarded") as station:
        path = "/api/v1/charge-points/guarded/calls/Reset"
        body = b'{"type": "Hard"}'
        assert server.request("POST", path, body, {"Origin": "https://evil.example"})[0] == 403
        assert server.request("POST", path, body, {"Origin": "null"})[0] == 403
        assert server.request("POST", path, body, {"Content-Type": "text/plain"})[0] == 415
        assert station.commands == []
        assert server.request("POST", path, body, {"Origin": f"http://127.0.0.1:{server.admin_port}"})[0] == 200


def test_bodies_are_limited(server: CentralSystem) -> None:
    """Whether their length is told or not; a message of the greatest size can be sent."""
    path = "/api/v1/charge-points/nobody/calls/DataTransfer"
    assert server.request("POST", path, b" " * (256 * 1024 + 1))[0] == 413
    assert server.request("POST", "/api/v1/calls/ClearCache", b" " * (8 * 1024 * 1024 + 1))[0] == 413
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=TIMEOUT)
    chunks = (b" " * 65536 for _ in range(5))
    connection.request("POST", path, chunks, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    data = json.dumps({"vendorId": "v", "data": "x" * (256 * 1024 - 40)}).encode()
    assert server.request("POST", path, data)[0] == 404
    names = json.dumps({"identities": ["x" * 20] * 300_000}).encode()
    assert len(names) > 7_000_000
    assert server.request("POST", "/api/v1/calls/Reset", names)[0] == 422  # Reset needs a payload


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/docs", 404),
        ("GET", "/api/v1/charge-points/nobody", 404),
        ("POST", "/api/v1/ledger", 405),
        ("GET", "/api/v1/charge-points?limit=0", 422),
        ("GET", "/api/v1/charge-points?limit=1001", 422),
        ("GET", "/api/v1/transactions?before=-1", 422),
        ("GET", "/api/v1/charge-points?connected=perhaps", 422),
        ("GET", "/api/v1/transactions?state=odd", 422),
        ("GET", "/api/v1/transactions?stat=open", 422),
        ("GET", "/api/v1/ledger?of=A", 422),
        ("GET", "/api/v1/charge-points/nobody/messages?from=1", 422),
        ("POST", "/api/v1/charge-points/nobody/calls/ClearCache?timeOut=1", 422),
        ("POST", "/api/v1/calls/ClearCache?timeout=1", 422),
        ("DELETE", "/api/v1/id-tags/x?all=true", 422),
    ],
)
def test_every_error_has_the_same_shape(server: CentralSystem, method: str, path: str, status: int) -> None:
    """A script looks in one place: code, description, details."""
    got, answer = server.request(method, path)
    assert (got, ["code", "description", "details"]) == (status, sorted(answer["error"]))


def test_a_parameter_that_is_not_known_is_named_with_those_that_are(server: CentralSystem) -> None:
    """Who misspells a filter would be shown everything, and believe it."""
    answer = server.request("GET", "/api/v1/transactions?limit=1&identiy=A")[1]
    assert answer["error"]["description"] == (
        "query/identiy: it is not known here; there are state, identity, before, limit"
    )
    assert server.request("GET", "/api/v1/fleet?x")[0] == 422
    # What tools ask for may have parameters of theirs.
    assert server.request("GET", "/healthz?probe=1")[0] == 200


@pytest.mark.parametrize(
    "said", ["application/x-www-form-urlencoded", "text/plain; charset=utf-8", "application/jsonl", "json", ""]
)
def test_a_body_that_is_not_said_to_be_json_is_415_and_says_what_to_write(server: CentralSystem, said: str) -> None:
    """`curl -d` says that it is a form; the hint costs a minute less than "not a valid dictionary"."""
    body, headers = b'{"status": "Blocked"}', {"Content-Type": said}
    for method, path in (("PUT", "/api/v1/id-tags/x"), ("POST", "/api/v1/calls/ClearCache")):
        status, answer = server.request(method, path, body, headers)
        assert (status, answer["error"]["code"]) == (415, "UnsupportedMediaType")
        assert "Content-Type: application/json" in answer["error"]["description"]
    assert server.request("GET", "/api/v1/id-tags/x")[0] == 404
    for also in ("application/json; charset=utf-8", "Application/JSON", "application/ld+json"):
        assert server.request("PUT", "/api/v1/id-tags/said", body, {"Content-Type": also})[0] == 200
    # What has no body needs to say nothing of it.
    assert server.request("POST", "/api/v1/charge-points/nobody/calls/ClearCache", b"", headers)[0] == 404


def test_broken_http_is_no_line_in_the_log(tmp_path: Path) -> None:
    """Neither a port scanner nor a wrong protocol writes to it; every line stays JSON."""
    with CentralSystem(tmp_path / "log") as server:
        for text in (b"\x16\x03\x01\x00\xff", b"GET / HTTP/9\r\n\r\n", b"hello\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", server.admin_port), timeout=10) as sock:
                sock.sendall(text)
                sock.recv(100)
        with (
            socket.create_connection(("127.0.0.1", server.admin_port), timeout=10) as sock,
            pytest.raises(ssl.SSLError),
        ):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        assert server.stop() == 0
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_bytes().splitlines()]
    assert events == ["listening", "stopped"]


def test_the_schema_names_every_route(server: CentralSystem) -> None:
    """For whoever generates a client."""
    paths = get(server, "/openapi.json")["paths"]
    assert {"/api/v1/calls/{action}", "/api/v1/ledger", "/api/v1/id-tags/{id_tag}", "/healthz"} <= set(paths)


# -- charge points ------------------------------------------------------------------------------


def test_what_a_charge_point_said_of_itself_is_told_and_survives_its_connection(fresh: CentralSystem) -> None:
    """Boot payload, each connector's last status, when it was seen; also after it has gone and come back."""
    boot = {**BOOT, "chargePointSerialNumber": "42"}
    available = {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": TIME}
    charging = {**available, "status": "Charging", "timestamp": "2026-01-01T00:05:00Z"}
    whole = {"connectorId": 0, "errorCode": "NoError", "status": "Available"}
    assert fresh.request("GET", "/api/v1/charge-points/CP%2F1")[0] == 404
    with Station(fresh, "CP/1") as station:
        before = get(fresh, "/api/v1/charge-points/CP%2F1")
        assert (before["registration"], before["boot"], before["connectors"]) == ("unknown", None, {})
        station.call("BootNotification", boot)
        for status in (available, whole, charging):
            station.call("StatusNotification", status)
        known = get(fresh, "/api/v1/charge-points/CP%2F1")
        assert before["last_seen"] <= known["last_seen"] <= format_utc(dt.datetime.now(dt.UTC).timestamp())
        expected = {
            "identity": "CP/1",
            "connected": True,
            "node": known["node"],
            "registration": "accepted",
            "boot": boot,
            "booted_at": known["booted_at"],
            "connectors": {"0": whole, "1": charging},
            "connected_at": known["connected_at"],
            "last_seen": known["last_seen"],
            "round_trip_seconds": None,
            "calls_waiting": 0,
            "configuration": {},
        }
        assert expected == known
        assert before["connected_at"] <= known["booted_at"] <= known["last_seen"]
    wait_until_gone(fresh, "CP/1")
    gone = get(fresh, "/api/v1/charge-points/CP%2F1")
    assert {**expected, "connected": False, "node": None} == gone
    fresh.stop()
    fresh.start()
    assert get(fresh, "/api/v1/charge-points/CP%2F1") == gone
    with Station(fresh, "CP/1"):
        again = get(fresh, "/api/v1/charge-points/CP%2F1")
        assert {**expected, **{name: again[name] for name in ("node", "connected_at", "last_seen")}} == again


def test_the_configuration_that_was_read_is_told(fresh: CentralSystem) -> None:
    """What GetConfiguration brought and ChangeConfiguration changed, but for the password, which nobody can read."""
    heartbeat = {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
    told = {"key": " authorizationKey\t", "readonly": False, "value": "SECRET"}
    connectors = {"key": "NumberOfConnectors", "readonly": True, "value": "2"}
    answers: Iterator[Answer] = iter(
        [
            {"configurationKey": [heartbeat, told, connectors], "unknownKey": []},
            {"status": "Accepted"},
            {"status": "Rejected"},
            {"status": "Accepted"},
        ]
    )
    with Station(fresh, "A", lambda command: next(answers)):
        fresh.call("A", "GetConfiguration")
        fresh.call("A", "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"})
        fresh.call("A", "ChangeConfiguration", {"key": "NumberOfConnectors", "value": "3"})
        fresh.call("A", "ChangeConfiguration", {"key": "AuthorizationKey", "value": "00112233445566778899aabbccddeeff"})
        known = get(fresh, "/api/v1/charge-points/A")
    assert known["configuration"] == {
        "HeartbeatInterval": {"readonly": False, "value": "60"},
        "NumberOfConnectors": {"readonly": True, "value": "2"},
    }


def test_round_trips_of_pings_are_told(tmp_path: Path) -> None:
    """How far away a charge point is, from the last PING that it answered."""
    with CentralSystem(tmp_path / "log", "--ping-interval-ms", "200") as server, Station(server, "A"):
        until(lambda: get(server, "/api/v1/charge-points/A")["round_trip_seconds"] is not None)
        assert 0 < get(server, "/api/v1/charge-points/A")["round_trip_seconds"] < TIMEOUT


def test_charge_points_are_listed_in_pages(fresh: CentralSystem) -> None:
    """Connected ones first; the filter counts as it lists."""
    for number in range(3):
        with Station(fresh, f"gone {number}") as station:
            station.call("BootNotification", BOOT)
        wait_until_gone(fresh, f"gone {number}")
    with Station(fresh, "A"), Station(fresh, "z"):
        assert pages(fresh, "/api/v1/charge-points?limit=2", "charge_points", "after") == [
            ["A", "gone 0"],
            ["gone 1", "gone 2"],
            ["z"],
        ]
        for query, expected in (
            ("connected=true", ["A", "z"]),
            ("connected=false", ["gone 0", "gone 1", "gone 2"]),
            ("registration=accepted&after=gone 0", ["gone 1", "gone 2"]),
            ("registration=unknown", ["A", "z"]),
            ("prefix=gone&limit=1", ["gone 0"]),
            ("prefix=nobody", []),
        ):
            page = get(fresh, f"/api/v1/charge-points?{query.replace(' ', '%20')}")
            assert expected == [each["identity"] for each in page["charge_points"]], query


def pages(server: CentralSystem, path: str, items: str, cursor: str) -> list[list[Any]]:
    """Return the identities, or transaction ids, of all pages."""
    found = []
    following: Any = None
    while True:
        page = get(server, path if following is None else f"{path}&{cursor}={quote(str(following))}")
        found.append([each.get("transaction_id", each["identity"]) for each in page[items]])
        following = page["next"]
        if following is None:
            return found


def test_the_health_check_counts_connections(fresh: CentralSystem) -> None:
    """For a container's health check and a load balancer."""
    with Station(fresh, "A"):
        assert get(fresh, "/healthz")["connections"] == 1


# -- boot policy --------------------------------------------------------------------------------


@pytest.mark.parametrize("require_boot", ["true", "false"])
def test_the_boot_policy_is_what_the_next_boot_is_answered(tmp_path: Path, require_boot: str) -> None:
    """Core 4.2: Pending may be asked for messages, Rejected may not send any (whichever it was before)."""
    with (
        CentralSystem(tmp_path / "log", "--require-boot", require_boot, "--boot-interval", "77") as server,
        Station(server, "A") as station,
    ):
        assert get(server, "/api/v1/boot-policy") == {"status": "Accepted", "interval": 77}
        for status, answered in (("Pending", 3), ("Rejected", 4), ("Accepted", 3)):
            policy = {"status": status, "interval": 60}
            assert server.request("PUT", "/api/v1/boot-policy", policy) == (200, policy)
            boot = station.call("BootNotification", BOOT)
            assert (boot["status"], boot["interval"]) == (status, 60)
            assert get(server, "/api/v1/charge-points/A")["registration"] == status.lower()
            expected = answered if require_boot == "true" else 3
            assert expected == station.ask("Heartbeat", {})[0]
            asked, _ = server.request("POST", "/api/v1/charge-points/A/calls/ClearCache")
            assert asked == (409 if status == "Rejected" else 200)
    booted = [line.get("status", "accepted") for line in server.lines("booted")]
    assert booted == ["pending", "rejected", "accepted"]


@pytest.mark.parametrize(
    "policy",
    [{}, {"status": "Perhaps", "interval": 1}, {"status": "Pending", "interval": -1}, {"status": "Pending"}, 1],
)
def test_a_boot_policy_that_is_none_is_422_and_changes_nothing(server: CentralSystem, policy: Any) -> None:
    """The next boot would be answered with something that breaks the schema."""
    before = get(server, "/api/v1/boot-policy")
    assert server.request("PUT", "/api/v1/boot-policy", policy)[0] == 422
    assert before == get(server, "/api/v1/boot-policy")


# -- id tags ------------------------------------------------------------------------------------


def test_id_tags_are_answered_as_they_were_set(fresh: CentralSystem) -> None:
    """Core 4.1, 4.8, 4.10, 7.28: in all three answers, in any case; a start gets its transaction id all the same."""
    info = {"status": "Blocked", "expiryDate": "2030-01-01T00:00:00Z", "parentIdTag": "FLEET"}
    assert fresh.request("PUT", "/api/v1/id-tags/TAG%2F1", info) == (200, info)
    assert get(fresh, "/api/v1/id-tags/tag%2F1") == info
    with Station(fresh, "A") as station:
        assert station.call("Authorize", {"idTag": "other"}) == {"idTagInfo": {"status": "Accepted"}}
        for id_tag in ("TAG/1", "tag/1"):
            assert station.call("Authorize", {"idTag": id_tag}) == {"idTagInfo": info}
        started = station.call("StartTransaction", start(idTag="TAG/1"))
        assert started["idTagInfo"] == info
        transaction_id = started["transactionId"]
        assert transaction_id > 0
        assert station.call("StopTransaction", stop(transaction_id, idTag="TAG/1")) == {"idTagInfo": info}
        assert fresh.request("DELETE", "/api/v1/id-tags/Tag%2F1") == (204, None)
        assert fresh.request("DELETE", "/api/v1/id-tags/Tag%2F1")[0] == 404
        assert fresh.request("GET", "/api/v1/id-tags/TAG%2F1")[0] == 404
        assert station.call("Authorize", {"idTag": "TAG/1"}) == {"idTagInfo": {"status": "Accepted"}}


def test_concurrent_tx_is_for_starts_only_and_an_accepted_tag_expires(fresh: CentralSystem) -> None:
    """Core 7.2: ConcurrentTx is only relevant for a StartTransaction.req; Expired has its own status."""
    past = "2020-01-01T00:00:00Z"
    assert fresh.request("PUT", "/api/v1/id-tags/busy", {"status": "ConcurrentTx"})[0] == 200
    assert fresh.request("PUT", "/api/v1/id-tags/old", {"status": "Accepted", "expiryDate": past})[0] == 200
    with Station(fresh, "A") as station:
        assert station.call("Authorize", {"idTag": "busy"})["idTagInfo"] == {"status": "Accepted"}
        assert station.call("StartTransaction", start(idTag="busy"))["idTagInfo"] == {"status": "ConcurrentTx"}
        assert station.call("Authorize", {"idTag": "old"})["idTagInfo"] == {"status": "Expired", "expiryDate": past}


def test_an_id_tag_for_one_transaction_at_a_time_is_concurrent_elsewhere(fresh: CentralSystem) -> None:
    """Core 7.2: while a transaction runs with it; another charge point's start is told, and counted."""
    only = {"status": "Accepted", "oneAtATime": True}
    assert fresh.request("PUT", "/api/v1/id-tags/Only", only) == (200, only)
    with Station(fresh, "A") as a, Station(fresh, "B") as b:
        first = a.call("StartTransaction", start(idTag="ONLY"))
        assert first["idTagInfo"] == {"status": "Accepted"}
        assert a.call("StartTransaction", start(idTag="ONLY")) == first
        second = b.call("StartTransaction", start(idTag="only"))
        assert second["idTagInfo"] == {"status": "ConcurrentTx"}
        assert second["transactionId"] != first["transactionId"]
        b.call("StopTransaction", stop(second["transactionId"]))
        a.call("StopTransaction", stop(first["transactionId"]))
        third = b.call("StartTransaction", start(idTag="Only", meterStart=7))
        assert third["idTagInfo"] == {"status": "Accepted"}
    assert ledger(fresh)["concurrent_starts"] == 1


def test_what_was_set_survives_a_restart(fresh: CentralSystem) -> None:
    """An emulator that forgets its cards over night is set up anew each morning."""
    tags = {"one": {"status": "Blocked"}, "Two": {"status": "Accepted", "parentIdTag": "P", "oneAtATime": True}}
    policy = {"status": "Pending", "interval": 60}
    assert fresh.request("PUT", "/api/v1/id-tags", tags) == (200, {"id_tags": 2})
    assert fresh.request("PUT", "/api/v1/unknown-id-tags", {"status": "Invalid"})[0] == 200
    assert fresh.request("PUT", "/api/v1/boot-policy", policy)[0] == 200
    fresh.stop()
    fresh.start()
    assert get(fresh, "/api/v1/id-tags") == {"id_tags": {"one": tags["one"], "two": tags["Two"]}, "next": None}
    assert get(fresh, "/api/v1/id-tags?limit=1")["next"] == "one"
    assert get(fresh, "/api/v1/boot-policy") == policy
    with Station(fresh, "A") as station:
        assert station.call("Authorize", {"idTag": "ONE"})["idTagInfo"] == {"status": "Blocked"}
        assert station.call("Authorize", {"idTag": "three"})["idTagInfo"] == {"status": "Invalid"}


def test_of_many_id_tags_none_is_set_when_one_is_wrong(fresh: CentralSystem) -> None:
    """Whoever sends a list again need not find out how far it came."""
    tags = {"good": {"status": "Blocked"}, "x" * 21: {"status": "Blocked"}}
    status, answer = fresh.request("PUT", "/api/v1/id-tags", tags)
    assert (status, "x" * 21 in answer["error"]["description"]) == (422, True)
    assert get(fresh, "/api/v1/id-tags")["id_tags"] == {}


@pytest.mark.parametrize(
    ("id_tag", "info"),
    [
        ("x", {"status": "Perhaps"}),
        ("x", {}),
        ("x", {"status": "Blocked", "expiryDate": "soon"}),
        ("x", {"status": "Blocked", "parentIdTag": "x" * 21}),
        ("x", {"status": "Blocked", "expiry_date": TIME}),
        ("x" * 21, {"status": "Blocked"}),
        ("", {"status": "Blocked"}),
    ],
)
def test_what_could_not_be_sent_cannot_be_set(server: CentralSystem, id_tag: str, info: Any) -> None:
    """Else the answer to a charge point would break the schema, long after the mistake."""
    assert server.request("PUT", f"/api/v1/id-tags/{id_tag}", info)[0] == 422
    assert server.request("GET", f"/api/v1/id-tags/{id_tag}")[0] == (404 if 0 < len(id_tag) <= 20 else 422)


# -- transactions -------------------------------------------------------------------------------


def test_the_ledger_counts_a_transaction_and_what_repeats(fresh: CentralSystem) -> None:
    """Core 3.7.1: a message whose answer was lost comes again; it is no second transaction, nor an unknown stop."""
    with Station(fresh, "A") as station:
        first = station.call("StartTransaction", start())["transactionId"]
        assert first == station.call("StartTransaction", start())["transactionId"]
        for timestamp in ("2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z", "2026-01-01T00:02:00Z"):
            station.call("MeterValues", meter(first, timestamp))
        station.call("MeterValues", meter(first, "2026-01-01T00:01:30Z"))
        assert station.call("StopTransaction", stop(first)) == {}
        assert station.call("StopTransaction", stop(first, idTag="A")) == {"idTagInfo": {"status": "Accepted"}}
        station.call("MeterValues", meter(first, "2026-01-01T00:03:00Z"))
        station.call("MeterValues", {"connectorId": 1, "meterValue": meter(first, TIME)["meterValue"]})
        second = station.call("StartTransaction", start(2))["transactionId"]
        assert first != second
    expected = {
        "started": 2,
        "repeated_starts": 1,
        "stopped": 1,
        "repeated_stops": 1,
        "open": 1,
        "energy_wh": 500,
        "meter_values": 4,
        "repeated_meter_values": 1,
        "meter_values_out_of_order": 2,
        "anomalies": 5,
    }
    assert ledger(fresh) == expected
    assert expected.items() <= fresh.summary()["transactions"].items()


def test_messages_without_a_transaction_id_are_answered_as_if_they_were_valid(fresh: CentralSystem) -> None:
    """Core errata 3.18: transactionId -1, from who never got its StartTransaction.conf; it is not blocked by it."""
    with Station(fresh, "A") as station:
        assert station.call("MeterValues", meter(-1, TIME)) == {}
        assert station.call("StopTransaction", stop(-1, idTag="A")) == {"idTagInfo": {"status": "Accepted"}}
    assert ledger(fresh) == {"without_transaction_id": 2, "anomalies": 2}


def test_a_transaction_of_another_charge_point_is_unknown(fresh: CentralSystem) -> None:
    """It is answered all the same (core 4.10), and the right one's goes on."""
    with Station(fresh, "A") as a, Station(fresh, "B") as b:
        transaction_id = a.call("StartTransaction", start())["transactionId"]
        b.call("StopTransaction", stop(transaction_id))
        b.call("MeterValues", meter(transaction_id, TIME))
        b.call("StopTransaction", stop(transaction_id + 1))
        assert ledger(fresh) == {
            "started": 1,
            "open": 1,
            "unknown_stops": 2,
            "meter_values_unknown_transaction": 1,
            "anomalies": 3,
        }


def test_transactions_are_listed_latest_first(fresh: CentralSystem) -> None:
    """With what was reported of each, in pages, by state and by charge point."""
    with Station(fresh, "A") as station, Station(fresh, "B") as other:
        ids = [station.call("StartTransaction", start(number))["transactionId"] for number in (1, 2, 3)]
        ids += [other.call("StartTransaction", start(meterStart=2000 + number))["transactionId"] for number in (1, 2)]
        station.call("MeterValues", meter(ids[0], TIME))
        station.call("StopTransaction", stop(ids[0], reason="Remote", timestamp="2026-01-01T01:00:00Z"))
        station.call("StopTransaction", stop(ids[2], meterStop=10))
    assert pages(fresh, "/api/v1/transactions?limit=2", "transactions", "before") == [
        [ids[4], ids[3]],
        [ids[2], ids[1]],
        [ids[0]],
    ]
    for query, expected in (
        ("state=open", [ids[4], ids[1]]),
        ("state=stopped", [ids[2], ids[0]]),
        ("state=superseded", [ids[3]]),
        ("identity=B", [ids[4], ids[3]]),
        ("identity=A&state=open", [ids[1]]),
        ("identity=C", []),
    ):
        listed = get(fresh, f"/api/v1/transactions?{query}")["transactions"]
        assert expected == [each["transaction_id"] for each in listed], query
    known = get(fresh, f"/api/v1/transactions/{ids[0]}")
    assert known == {
        "transaction_id": ids[0],
        "identity": "A",
        "connector_id": 1,
        "id_tag": "A",
        "state": "stopped",
        "started_at": TIME,
        "meter_start_wh": 1000,
        "meter_values": 1,
        "meter_last_wh": 1500,
        "stopped_at": "2026-01-01T01:00:00Z",
        "meter_stop_wh": 1500,
        "reason": "Remote",
        "received_at": known["received_at"],
        "ended_at": known["ended_at"],
    }
    assert known["received_at"] <= known["ended_at"]
    assert fresh.request("GET", f"/api/v1/transactions/{max(ids) + 1}")[0] == 404
    assert {"energy_wh": 500, "backward_meters": 1, "stopped": 2, "superseded": 1}.items() <= ledger(fresh).items()


def test_anomalies_are_listed_with_who_and_when(fresh: CentralSystem) -> None:
    """A count alone would not help to find what is wrong."""
    with Station(fresh, "A") as a, Station(fresh, "B") as b:
        first = a.call("StartTransaction", start())["transactionId"]
        a.call("StartTransaction", start())
        a.call("StartTransaction", start(meterStart=1200))
        b.call("StopTransaction", stop(first))
        a.call("StopTransaction", stop(first))
        a.call("StopTransaction", stop(first))
        b.call("MeterValues", meter(-1, TIME))
    listed = get(fresh, "/api/v1/ledger/anomalies")["anomalies"]
    assert [(each["kind"], each["identity"], each["transaction_id"]) for each in listed] == [
        ("without transaction id", "B", None),
        ("repeated stop", "A", first),
        ("late stop", "A", first),
        ("stop without a start", "B", first),
        ("start without a stop", "A", first),
        ("repeated start", "A", first),
    ]
    times = [each["at"] for each in listed]
    assert times == sorted(times, reverse=True)
    of_b = get(fresh, "/api/v1/ledger/anomalies?identity=B")["anomalies"]
    assert [each["kind"] for each in of_b] == ["without transaction id", "stop without a start"]
    page = get(fresh, "/api/v1/ledger/anomalies?kind=late%20stop")
    assert ([each["identity"] for each in page["anomalies"]], page["next"]) == (["A"], None)
    first_page = get(fresh, "/api/v1/ledger/anomalies?limit=4")
    second_page = get(fresh, f"/api/v1/ledger/anomalies?limit=4&before={first_page['next']}")
    assert listed == first_page["anomalies"] + second_page["anomalies"]


# -- certificates -------------------------------------------------------------------------------


def csr_of(key: Any, *, common_name: str | None = "CP1", organization: str | None = "CPO") -> str:
    names = [(NameOID.COMMON_NAME, common_name), (NameOID.ORGANIZATION_NAME, organization)]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names if value is not None])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def authority(folder: Path, ca: CA) -> tuple[str, ...]:
    certificate, key = folder / "ca.pem", folder / "ca.key"
    ca.cert_pem.write_to_path(str(certificate))
    ca.private_key_pem.write_to_path(str(key))
    return ("--csr-ca-cert", str(certificate), "--csr-ca-key", str(key))


@pytest.mark.parametrize("key_type", [KeyType.ECDSA, KeyType.RSA])
def test_a_csr_is_answered_with_a_certificate_that_verifies(tmp_path: Path, key_type: KeyType) -> None:
    """Whitepaper A02.FR.11, A00.FR.501-512: Accepted, and then CertificateSigned.req for the charge point's key."""
    ca = CA(key_type=key_type)
    key = ec.generate_private_key(ec.SECP256R1())
    with (
        CentralSystem(tmp_path / "log", *authority(tmp_path, ca)) as server,
        Station(server, "CP1") as station,
    ):
        assert station.call("SignCertificate", {"csr": csr_of(key)}) == {"status": "Accepted"}
        (command,) = station.wait_for(1)
        # It waits for the answer to CertificateSigned.req (J 4.1.1), so that is counted when this is done.
        server.call("CP1", "ClearCache")
        events = server.summary()["events"]
    assert command.action == "CertificateSigned"
    (certificate,) = x509.load_pem_x509_certificates(command.payload["certificateChain"].encode())
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    certificate.verify_directly_issued_by(issuer)
    assert certificate.public_key() == key.public_key()
    assert {each.value for each in certificate.subject} == {"CP1", "CPO"}
    now = dt.datetime.now(dt.UTC)
    assert certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc <= issuer.not_valid_after_utc
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert events["certificates accepted by charge points"] == 1


def test_a_csr_by_an_intermediate_ca_is_answered_with_the_whole_chain(tmp_path: Path) -> None:
    """Whitepaper 5.1: with the necessary sub CA certificates; the root is installed at the charge point."""
    root = CA()
    sub = root.create_child_ca()
    with (
        CentralSystem(tmp_path / "log", *authority(tmp_path, sub)) as server,
        Station(server, "CP1", lambda command: {"status": "Rejected"}) as station,
    ):
        station.call("SignCertificate", {"csr": csr_of(ec.generate_private_key(ec.SECP256R1()))})
        (command,) = station.wait_for(1)
        line = server.wait_for(lambda line: line["event"] == "certificate")
    leaf, between = x509.load_pem_x509_certificates(command.payload["certificateChain"].encode())
    leaf.verify_directly_issued_by(between)
    between.verify_directly_issued_by(x509.load_pem_x509_certificate(root.cert_pem.bytes()))
    assert (line["identity"], line["outcome"]) == ("CP1", "refused by charge points")


def test_a_csr_that_cannot_be_signed_is_rejected(tmp_path: Path) -> None:
    """Whitepaper A02.FR.12, A00.FR.502, 509, 511; nothing follows."""
    strong = ec.generate_private_key(ec.SECP256R1())
    good = csr_of(strong)
    lines = good.splitlines()
    tampered = "\n".join([*lines[:-2], "A" * len(lines[-2]), lines[-1]])
    with (
        CentralSystem(tmp_path / "log", *authority(tmp_path, CA())) as server,
        Station(server, "CP1") as station,
    ):
        for csr in (
            "x",
            "",
            tampered,
            csr_of(rsa.generate_private_key(65537, 1024)),
            csr_of(ec.generate_private_key(ec.SECP192R1())),
            csr_of(strong, common_name=None),
            csr_of(strong, organization=None),
            # Another charge point's name: whoever has its certificate is let in as that one.
            csr_of(strong, common_name="CP2"),
        ):
            assert station.call("SignCertificate", {"csr": csr}) == {"status": "Rejected"}
        assert server.call("CP1", "ClearCache") == {"status": "Accepted"}
        assert [command.action for command in station.commands] == ["ClearCache"]
        assert server.summary()["events"]["certificate signing requests rejected"] == 8


def test_a_ca_that_cannot_sign_is_refused_at_the_start(tmp_path: Path) -> None:
    """And not when the first charge point asks."""
    ca, other = CA(), CA()
    args = authority(tmp_path, ca)
    other.private_key_pem.write_to_path(args[3])
    assert f"{args[3]} is not the key of {args[1]}" in refuses_to_start(*args)
    leaf = ca.issue_cert("cs.example.com")
    leaf.cert_chain_pems[0].write_to_path(args[1])
    leaf.private_key_pem.write_to_path(args[3])
    assert f"{args[1]} is not the certificate of a CA" in refuses_to_start(*args)
