"""The page for people, in a real browser: what it shows, what a click does, what charge points cannot make it do."""

from __future__ import annotations

import http.client
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hatchling.builders.wheel import WheelBuilder

from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS, Direction, validate
from tests.browser import Browser
from tests.processes import ROOT, TIMEOUT, CentralSystem, until
from tests.server.station import Answer, Command, Refusal, Station

BOOT = {"chargePointVendor": "Vendor", "chargePointModel": "Model 22"}
TIME = "2026-01-01T00:00:00Z"
TOKEN = "s3cret-token"
ODD = "<img src=x onerror=alert(1)>"
MARKUP = "<script>alert(2)</script><img src=http://192.0.2.1/x onerror=alert(3)>"
ENTER = "\ue007"
FILES = (
    "index.html",
    "page.css",
    "page.svg",
    *(f"{name}.js" for name in ("api", "calls", "dom", "fleet", "page", "station")),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests; skipped where there is none, but not in CI."""
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for the tests that need none of their own."""
    with CentralSystem(tmp_path_factory.mktemp("page") / "cs.log", "--ping-interval-ms", "0") as running:
        yield running


@pytest.fixture
def page(browser: Browser, shared: CentralSystem) -> Iterator[Browser]:
    """The browser, on no page yet; a test must leave nothing on the console, and ask nobody but its own server."""
    browser.open("about:blank")
    browser.console()
    browser.requested()
    yield browser
    assert browser.console() == []
    requested = browser.requested()
    assert f"{shared.admin}/page.js" in requested
    foreign = [url for url in requested if not url.startswith((shared.admin + "/", "about:", "data:"))]
    assert foreign == []


def station_url(server: CentralSystem, identity: str) -> str:
    return f"{server.admin}/#/charge-points/{quote(identity, safe='')}"


def start(station: Station, id_tag: str = "TAG-1") -> int:
    payload = {"connectorId": 1, "idTag": id_tag, "meterStart": 1000, "timestamp": TIME}
    transaction_id: int = station.call("StartTransaction", payload)["transactionId"]
    return transaction_id


def quick(page: Browser, label: str) -> None:
    """Click one of the buttons that send a command."""
    (button,) = [each for each in page.find_all("#quick button") if each.text == label]
    button.click()


def number(text: str) -> int:
    return int(text.replace(",", ""))


# -- the fleet ---------------------------------------------------------------------------------------


def test_the_fleet_at_a_glance_is_what_the_api_says_and_stays_so(browser: Browser, tmp_path: Path) -> None:
    """Who looks at the page without touching it sees what is so now."""
    with (
        CentralSystem(tmp_path / "log", "--ping-interval-ms", "0") as server,
        Station(server, "CP1") as first,
        Station(server, "CP2") as second,
    ):
        first.call("BootNotification", BOOT)
        second.call("BootNotification", BOOT)
        first.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Charging"})
        start(first)
        browser.open(f"{server.admin}/")
        browser.wait_for_text("#stations", "1 Charging")
        browser.wait_for_text("#ready", "Ready")
        browser.wait_for_text("#state", "Live")
        # Counted aside, and shown with the next look.
        browser.wait_for_text("#registrations", "2 accepted")
        browser.wait_for_text("#transactions-open", "1")
        fleet = server.request("GET", "/api/v1/fleet")[1]
        ledger = server.request("GET", "/api/v1/ledger")[1]
        for selector, expected in (
            ("#connected", fleet["connected"]),
            ("#known", fleet["known"]),
            ("#transactions-open", fleet["transactions_open"]),
            ("#processes", len(fleet["nodes"])),
        ):
            assert expected == number(browser.text(selector)), selector
        assert f"Started\n{ledger['started']}" in browser.text("#ledger")
        assert "None" in browser.text("#no-anomalies")
        row = browser.find("#stations tr").text
        assert ("CP1" in row, "Vendor Model 22" in row) == (True, True)

        second.call("StopTransaction", {"transactionId": 12345, "meterStop": 1, "timestamp": TIME})
        browser.wait_for_text("#anomalies", "stop without a start")
        assert "CP2" in browser.text("#anomalies")
        second.close()
        browser.wait_for_text("#connected", "1")
        # What did not change is the same row still: nothing flickers, and what was selected stays so.
        browser.run("document.querySelector('#stations tr').marked = true")
        first.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Finishing"})
        browser.wait_for_text("#stations", "1 Finishing")
        assert browser.run("return document.querySelector('#stations tr').marked")


def test_what_is_not_well_is_said(browser: Browser, tmp_path: Path) -> None:
    """That the process drains, by name; and that the page is out of date once it has gone."""
    with CentralSystem(tmp_path / "log", "--drain-delay", "4", "--ping-interval-ms", "0") as server:
        browser.open(f"{server.admin}/")
        browser.wait_for_text("#ready", "Ready")
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        browser.wait_for_text("#ready", "Not ready")
        assert "draining" in browser.text("#failing")
        stopping.join(TIMEOUT)
        browser.wait_for_text("#trouble", "does not answer")
        browser.wait_for_text("#state", "Not up to date")
        server.start()
        browser.wait_for_text("#state", "Live")
        assert browser.text("#trouble").strip() == ""


def test_charge_points_are_searched_filtered_and_paged(browser: Browser, tmp_path: Path) -> None:
    """In a large fleet, the one that somebody looks for is not on the first page."""
    with CentralSystem(tmp_path / "log", "--ping-interval-ms", "0") as server:
        for count in range(60):
            with Station(server, f"CP{count:03d}") as gone:
                if count % 2:
                    gone.call("BootNotification", BOOT)
        with Station(server, "CP000"):
            browser.open(f"{server.admin}/")
            browser.wait_for_text("#stations", "CP049")
            browser.find("#next").click()
            browser.wait_for_text("#stations", "CP059")
            assert len(browser.find_all("#stations tr")) == 10
            browser.find("#previous").click()
            browser.wait_for_text("#page-number", "Page 1")
            browser.find("#prefix").type("CP05")
            until(lambda: len(browser.find_all("#stations tr")) == 10)
            browser.find("#prefix").clear()
            browser.find("#registration option:nth-child(2)").click()
            until(lambda: len(browser.find_all("#stations tr")) == 30)
            browser.find("#is-connected option:nth-child(2)").click()
            until(lambda: browser.find_all("#stations tr") == [])
            assert browser.text("#no-stations") == "No charge point fits."
            browser.find("#registration option:nth-child(1)").click()
            browser.wait_for_text("#stations", "CP000")
            browser.find("#stations a").click()
            browser.wait_for_text("#identity", "CP000")


# -- a station ---------------------------------------------------------------------------------------


def test_the_messages_of_a_station_appear_by_themselves(page: Browser, shared: CentralSystem) -> None:
    """In both directions, an answer under the name of its Call, and all of a message at one click."""
    with Station(shared, "live") as station:
        station.call("BootNotification", BOOT)
        page.open(station_url(shared, "live"))
        page.wait_for_text("#messages", '"chargePointModel"')
        station.exchange('[2,"n","DataTransfer",{"vendorId":"V","data":"12345678901234567890.10"}]')
        page.wait_for_text("#messages .in:nth-last-child(2)", "DataTransfer")
        page.wait_for_text("#messages .out:last-child", "DataTransfer")
        page.find("#messages .in:nth-last-child(2) summary").click()
        page.wait_for_text("#messages [open] pre", '"data": "12345678901234567890.10"\n  }\n]')
        for _ in range(40):
            station.call("Heartbeat", {})
        until(lambda: page.run("return document.querySelectorAll('.message').length") == 84)
        assert page.run("""
            const list = document.getElementById("messages");
            return list.scrollHeight - list.scrollTop - list.clientHeight < 2;
        """)
        # Who has scrolled up to read stays there.
        page.run("document.getElementById('messages').scrollTop = 0")
        station.call("DataTransfer", {"vendorId": "later"})
        page.wait_for_text("#messages", "later")
        assert page.run("return document.getElementById('messages').scrollTop") == 0


def test_numbers_are_shown_as_they_were_sent(page: Browser, shared: CentralSystem) -> None:
    """A browser's own parser would make 9007199254740993 another number, and 1.10 a shorter one."""
    with Station(shared, "digits") as station:
        station.exchange('[2,"d","Unheard",{"big":9007199254740993,"price":1.10,"empty":{},"twice":1,"twice":[]}]')
        page.open(station_url(shared, "digits"))
        page.find("#messages summary").click()
        page.wait_for_text(
            "#messages pre", '"big": 9007199254740993,\n    "price": 1.10,\n    "empty": {},\n    "twice": 1,'
        )


def test_what_is_known_of_a_station_is_shown(page: Browser, shared: CentralSystem) -> None:
    """Boot data, connectors, configuration and transactions."""

    def answer(command: Command) -> Answer:
        key = {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
        return {"configurationKey": [key]} if command.action == "GetConfiguration" else {"status": "Accepted"}

    with Station(shared, "known", answer) as station:
        station.call("BootNotification", {**BOOT, "firmwareVersion": "1.2.3"})
        fault = {"connectorId": 2, "errorCode": "GroundFailure", "status": "Faulted", "vendorErrorCode": "E7"}
        station.call("StatusNotification", fault)
        transaction_id = start(station, "TAG-7")
        shared.call("known", "GetConfiguration")
        page.open(station_url(shared, "known"))
        page.wait_for_text("#about", "1.2.3")
        page.wait_for_text("#connectors", "Faulted")
        assert "GroundFailure · E7" in page.text("#connectors")
        page.wait_for_text("#transactions", "TAG-7")
        assert str(transaction_id) in page.text("#transactions")
        page.find("#configuration-part summary").click()
        page.wait_for_text("#configuration", "HeartbeatInterval\n300")
        page.find("nav a").click()
        page.wait_for_text("#stations", "known")


def test_a_click_sends_a_command_and_its_result_is_shown(page: Browser, shared: CentralSystem) -> None:
    """One of the buttons, and any action with a payload of one's own."""
    with Station(shared, "clicked", lambda command: {"status": "Accepted"}) as station:
        transaction_id = start(station)
        page.open(station_url(shared, "clicked"))
        page.wait_for_text("#transactions", str(transaction_id))
        for label in ("Reset Soft", "RemoteStop"):
            quick(page, label)
            page.wait_for_text("#results li.good", '"status": "Accepted"')
        until(lambda: len(page.find_all("#results li.good")) == 2)
        expected = [("Reset", {"type": "Soft"}), ("RemoteStopTransaction", {"transactionId": transaction_id})]
        assert expected == [(each.action, each.payload) for each in station.wait_for(2)]

        page.run("""
            const select = document.getElementById("action");
            select.value = "DataTransfer";
            select.dispatchEvent(new Event("change"));
        """)
        assert "vendorId" in page.find("#payload").value
        page.find("#payload").clear()
        page.find("#payload").type('{"vendorId": "me", "data": "{')
        page.find("#send").click()
        page.wait_for_text("#payload-error", "not JSON")
        page.find("#payload").clear()
        page.find("#payload").type('{"vendorId": "me"}')
        page.find("#send").click()
        page.wait_for_text("#results li:first-child", "DataTransfer")
        until(lambda: len(page.find_all("#results li.good")) == 3)
        assert (station.commands[2].action, station.commands[2].payload) == ("DataTransfer", {"vendorId": "me"})
        assert "ms" in page.text("#results li:first-child")


def test_a_command_that_fails_says_why(browser: Browser, shared: CentralSystem) -> None:
    """A CallError with its details; a payload that breaks the schema, which is not sent."""
    with Station(shared, "unwilling", lambda command: Refusal("InternalError", "on fire", {"at": MARKUP})):
        browser.open(station_url(shared, "unwilling"))
        browser.find("#quick button").click()
        browser.wait_for_text("#results li.bad", "InternalError: on fire")
        assert MARKUP in browser.text("#results li.bad pre")
        browser.find("#payload").clear()
        browser.find("#payload").type('{"requestedMessage": "Nonsense"}')
        browser.find("#send").click()
        until(lambda: len(browser.find_all("#results li.bad")) == 2)
        assert "PropertyConstraintViolation" in browser.text("#results li:first-child")


def test_a_command_against_the_rules_can_be_sent_all_the_same(page: Browser, shared: CentralSystem) -> None:
    """Core 4.2: none to a charge point whose boot was Rejected; but whoever tests one wants to see what it does."""
    policy = shared.request("GET", "/api/v1/boot-policy")[1]
    shared.request("PUT", "/api/v1/boot-policy", {"status": "Rejected", "interval": 60})
    with Station(shared, "rejected") as station:
        assert station.call("BootNotification", BOOT)["status"] == "Rejected"
        shared.request("PUT", "/api/v1/boot-policy", policy)
        page.open(station_url(shared, "rejected"))
        quick(page, "Reset Soft")
        page.wait_for_text("#results li.bad", "NotAccepted: its boot was answered Rejected")
        assert station.commands == []
        page.find("#results li.bad button").click()
        page.wait_for_text("#results li.good", '"status": "Accepted"')
        assert [command.action for command in station.commands] == ["Reset"]
        # A browser says so by itself of each answer that is none of 2xx.
        assert all("409" in line for line in page.console())


def test_every_action_has_a_payload_to_begin_with_that_may_be_sent(page: Browser, shared: CentralSystem) -> None:
    """All that a central system may send is on offer, and the first click of a beginner is no 422."""
    with Station(shared, "offered"):
        page.open(station_url(shared, "offered"))
        page.find("#action option")
        payloads: dict[str, str] = page.run("""
            const select = document.getElementById("action");
            return Object.fromEntries([...select.options].map(({ value }) => {
              select.value = value;
              select.dispatchEvent(new Event("change"));
              return [value, document.getElementById("payload").value];
            }));
        """)
    assert sorted(CENTRAL_SYSTEM_ACTIONS) == sorted(payloads)
    for action, payload in payloads.items():
        validate(action, Direction.REQ, json.loads(payload))


def test_the_keyboard_is_enough(page: Browser, shared: CentralSystem) -> None:
    """Tab and Enter get to a charge point, and a command out."""
    with Station(shared, "keys", lambda command: {"status": "Accepted"}) as station:
        page.open(f"{shared.admin}/")
        page.find("#prefix").type("keys")
        until(lambda: page.texts("#stations th") == ["keys"])
        page.find("#stations a").type(ENTER)
        page.wait_for_text("#identity", "keys")
        page.find("#quick button").type(ENTER)
        page.wait_for_text("#results", "Accepted")
        assert [each.action for each in station.wait_for(1)] == ["TriggerMessage"]


def test_an_identity_that_never_connected_is_said_to_be_none(browser: Browser, shared: CentralSystem) -> None:
    """An old link, or one with a typing error."""
    browser.open(station_url(shared, "nobody"))
    browser.wait_for_text("#unknown", "has ever connected")


# -- what comes from the wire ------------------------------------------------------------------------


def test_markup_from_the_wire_stays_text(page: Browser, shared: CentralSystem) -> None:
    """A charge point must not command others through the browser of whoever looks at it."""

    def answer(command: Command) -> Answer:
        return {"configurationKey": [{"key": MARKUP[:50], "readonly": True, "value": MARKUP}]}

    with Station(shared, ODD, answer) as station:
        station.call("BootNotification", {"chargePointVendor": "<svg onload=a()>", "chargePointModel": "<b>bold</b>"})
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Available", "info": "<i>x</i>\u202etxet"}
        station.call("StatusNotification", status)
        transaction_id = start(station, "<a href=//x>")
        station.call("StopTransaction", {"transactionId": transaction_id, "meterStop": 1, "timestamp": TIME})
        station.call("DataTransfer", {"vendorId": "x", "data": MARKUP})
        station.exchange(json.dumps([2, ODD, MARKUP, {MARKUP: MARKUP}]))
        station.send(MARKUP)
        page.open(f"{shared.admin}/")
        page.find("#prefix").type("<img")
        until(lambda: page.texts("#stations th") == [ODD])
        assert ODD in page.text("#anomalies")
        page.find("#stations a").click()
        page.wait_for_text("#messages", f"not OCPP-J\n{MARKUP}")
        page.wait_for_text("#transactions", "<a href=//x>")
        assert page.text("#identity") == ODD
        assert "<svg onload=a()>" in page.text("#about")
        assert "<i>x</i>\\u202etxet" in page.text("#connectors")
        quick(page, "GetConfiguration")
        page.wait_for_text("#results li.good", MARKUP)
        page.wait_for_text("#configuration-count", "1 keys")
        page.run("for (const each of document.querySelectorAll('details')) each.open = true")
        page.wait_for_text("#configuration", MARKUP)
        page.wait_for_text("#messages", f'"{MARKUP}": "{MARKUP}"')
        assert not page.has_dialog()
        assert (
            page.run(
                "return [...document.querySelectorAll('main :is(img, script, svg, i)')].map((each) => each.outerHTML)"
            )
            == []
        )


def test_the_policy_lets_no_string_become_markup_or_script(browser: Browser, shared: CentralSystem) -> None:
    """The second wall, should a later version of the page forget the first."""
    browser.open(f"{shared.admin}/")
    attempts = (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.setAttribute('onclick', 'alert(1)')",
        "eval('1')",
    )
    for attempt in attempts:
        outcome = browser.run(
            f"try {{ {attempt}; return document.body.onclick }} catch (error) {{ return error.name }}"
        )
        assert outcome in ("TypeError", "EvalError", None), attempt
    assert any("Trusted" in line for line in browser.console())


# -- who may see it ----------------------------------------------------------------------------------


def get(server: CentralSystem, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=TIMEOUT)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    answer = response.status, response.headers, response.read()
    connection.close()
    return answer


def test_with_a_token_the_page_asks_for_it_and_keeps_it_for_its_tab(browser: Browser, tmp_path: Path) -> None:
    """In no URL and no storage that outlives the tab; a wrong one is told so."""
    with CentralSystem(tmp_path / "log", env={"ADMIN_TOKEN": TOKEN}) as server, Station(server, "CP1") as station:
        station.call("BootNotification", BOOT)
        browser.open(station_url(server, "CP1"))
        browser.requested()
        for wrong in ("guess", "gueß"):
            browser.find("#token").type(wrong + ENTER)
            browser.wait_for_text("#login-error", "not the token")
        assert browser.text("#identity") == ""
        browser.find("#token").type(TOKEN)
        browser.find("#login button").click()
        browser.wait_for_text("#about", "Model 22")
        browser.find("#quick button").click()
        browser.wait_for_text("#results", "Accepted")
        browser.session.refresh()
        browser.wait_for_text("#about", "Model 22")
        kept: list[Any] = browser.run("return [{...sessionStorage}, {...localStorage}, document.cookie]")
        assert kept == [{"token": TOKEN}, {}, ""]
        assert not [url for url in browser.requested() if TOKEN in url]
        browser.find("#log-out").click()
        browser.find("#token")
        assert browser.run("return {...sessionStorage}") == {}
    assert TOKEN not in (tmp_path / "log").read_text()


def test_the_page_is_served_without_a_token_and_nothing_else_is(tmp_path: Path) -> None:
    """A browser has none before the page has asked for it."""
    with CentralSystem(tmp_path / "log", env={"ADMIN_TOKEN": TOKEN}) as server:
        for name in FILES:
            path = "/" if name == "index.html" else f"/{name}"
            status, headers, body = get(server, path)
            assert (200, (ROOT / "server" / "page" / name).read_bytes()) == (status, body)
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
        for path in ("/index.html", "/page", "//", "/page.js/", "/..%2fpage.js", "/api/v1/fleet"):
            assert get(server, path)[0] == 401, path


def test_another_sites_page_gets_nothing(shared: CentralSystem) -> None:
    """Neither under a foreign name that leads here (DNS rebinding), nor by a request of its own."""
    assert get(shared, "/", Host="attacker.example")[0] == 403
    assert get(shared, "/", Origin="http://attacker.example")[0] == 403


def test_the_page_is_in_the_wheel(tmp_path: Path) -> None:
    """Else it is missing wherever the package is installed, as in the image."""
    builder = WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert sorted(f"server/page/{name}" for name in FILES) == sorted(
        name for name in names if name.startswith("server/page/")
    )
