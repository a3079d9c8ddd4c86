"""The Fleet tab and the live page in a real browser, while a fleet runs on two workers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ampswarm.load.exposition import FAMILIES
from ampswarm.results.census import CONDITIONS
from tests.browser import Browser
from tests.fakes.locust_page import LocustPage
from tests.processes import STEADY_STATE, CentralSystem, Locust, free_port, until

FLEET = 30
BASE = "/swarm"
ENTER, END, LEFT = "\ue007", "\ue010", "\ue012"
CHARGING = """
from locust import task
from ampswarm.load import ChargePointUser, Vehicle

class Station(ChargePointUser):
    @task
    def charge(self):
        if self.charge_point and self.number % 3 == 0:
            self.plug_in(Vehicle(soc=20))
            self.start_charging("TAG1")
        self.sleep(1000)
"""
LOGIN = """
import os
from flask import Blueprint, request, redirect
from flask_login import UserMixin, login_user
from locust import events
from ampswarm.load import ChargePointUser

class Station(ChargePointUser):
    pass

class Someone(UserMixin):
    def get_id(self):
        return "someone"

@events.init.add_listener
def on_init(environment, web_ui, **_):
    if web_ui:
        web_ui.app.config["SECRET_KEY"] = os.urandom(16).hex()
        web_ui.login_manager.user_loader(lambda user_id: Someone())
        environment.web_ui.auth_args = {"username_password_callback": "/enter"}

        @web_ui.app.route("/enter", methods=["GET", "POST"])
        def enter():
            login_user(Someone())
            return redirect("/")
"""
CONTRAST = """
        const parts = color => color.match(/[\\d.]+/g).map(Number);
        const light = color => parts(color).slice(0, 3).map(each => each / 255)
          .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
          .reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
        const behind = node => { for (; node; node = node.parentElement) {
          const color = getComputedStyle(node).backgroundColor;
          if (parts(color)[3] !== 0) return color;
        } };
        const contrast = (color, ground) => {
          const [one, other] = [light(color), light(ground)].sort((a, b) => b - a);
          return (one + 0.05) / (other + 0.05);
        };"""


class Scene:
    """A central system, a master with a web UI below a base path, and two workers."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        (folder / "charging.py").write_text(CHARGING)
        port, page_port, self.metrics_port = str(free_port()), free_port(), free_port()
        self.url = f"http://127.0.0.1:{page_port}{BASE}"
        self.page = LocustPage(page_port, BASE)
        self.central_system = opened.enter_context(CentralSystem(folder / "cs.log", "--boot-interval", "1"))
        master = (
            *("--master", "--expect-workers", "2", "--master-bind-port", port, "--web-host", "127.0.0.1"),
            *("--web-port", str(page_port), "--web-base-path", BASE, "--autostart", "-u", f"{FLEET}", "-r", f"{FLEET}"),
            *("--reconnect-max", "2", "--operator-api", self.central_system.admin, "--host", self.central_system.url),
            *("--slo", "OCPP/Heartbeat p99 < 60s", "--slo", "FLOW/online max < 1us"),
            *("--metrics-port", f"{self.metrics_port}"),
        )
        worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
        for name, args in (("master", master), ("one", worker), ("two", worker)):
            opened.enter_context(Locust(folder, *args, locustfile=folder / "charging.py", name=name))
        until(self.page.is_there)
        until(lambda: self.total()["charging"] == FLEET // 3)

    def news(self) -> dict[str, Any]:
        """Return what the live page is made of."""
        news: dict[str, Any] = json.loads(self.page.get("/ampswarm/live.json"))
        return news

    def total(self) -> dict[str, Any]:
        """Return the sum of the fleet, as `fleet.json` has it."""
        total: dict[str, Any] = json.loads(self.page.get("/ampswarm/fleet.json"))["total"]
        return total


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One run for all tests."""
    with ExitStack() as opened:
        yield Scene(tmp_path_factory.mktemp("live"), opened)


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    """One browser for all tests; skipped where there is none, but not in CI."""
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, scene: Scene) -> Iterator[Browser]:
    """A test must leave nothing on the console, and ask nobody but Locust."""
    running.open("about:blank")
    running.console()
    running.requested()
    yield running
    assert running.console() == []
    requested = [url for url in running.requested() if not url.startswith(("about:", "data:", "chrome:"))]
    assert requested
    assert [url for url in requested if not url.startswith(scene.url)] == []


def rows(browser: Browser, selector: str) -> list[list[str]]:
    script = (
        "return [...document.querySelectorAll(arguments[0])].map(row => [...row.cells].map(each => each.innerText))"
    )
    found: list[list[str]] = browser.run(script, selector)
    return found


def test_what_the_page_shows_is_what_the_fleet_is_at(browser: Browser, scene: Scene) -> None:
    """Figures, table and charts, with those of `fleet.json`; SLOs as they stand."""
    browser.open(f"{scene.url}/ampswarm/live")
    browser.wait_for_text("#figure-all", f"{FLEET}")
    browser.wait_for_text("#figure-online", f"{FLEET}")
    until(lambda: len(rows(browser, "#fleet tbody tr")) == 3)
    until(lambda: rows(browser, "#fleet tbody tr")[-1][1:9] == [str(round(scene.total()[each])) for each in (
        "charge_points", "offline", "connecting", "booting", "online", "charging", "faulted", "off",
    )])  # fmt: skip
    workers = [row for row in rows(browser, "#fleet tbody tr") if row[0] != "all"]
    assert sum(int(row[1]) for row in workers) == FLEET
    assert {row[-1] for row in workers} == {"valid"}
    slos = rows(browser, "#slos tbody tr")
    assert [row[:2] for row in slos] == [["OCPP/Heartbeat p99 < 60s", "held"], ["FLOW/online max < 1us", "missed"]]
    # Something is drawn in each chart, but for that of a storm that has not been.
    drawn = "return Chart.getChart(arguments[0]).data.datasets.reduce((sum, each) => sum + each.data.length, 0)"
    for chart in ("fleet", "latency", "rate", "generators"):
        until(lambda chart=chart: browser.run(drawn, f"chart-{chart}") > 0)  # type: ignore[misc]
    assert "Heartbeat" in browser.texts("#row option")


def test_prometheus_gets_what_the_page_shows(scene: Scene) -> None:
    """The same charge points, times of all that was measured, and how the SLOs stand."""

    def samples() -> dict[tuple[str, ...], float]:
        with urlopen(f"http://127.0.0.1:{scene.metrics_port}/metrics") as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        assert {each.name for each in families} == {each.name for each in FAMILIES}
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families for sample in family.samples
        }  # fmt: skip

    def conditions() -> dict[str, float]:
        found = samples()
        return {
            each: sum(value for key, value in found.items() if key[:2] == ("ampswarm_charge_points", each))
            for each in CONDITIONS
        }

    until(lambda: conditions() == {each: scene.total()[each] for each in CONDITIONS})
    found = samples()
    assert found["ampswarm_response_time_seconds_count", "BootNotification", "OCPP"] >= FLEET
    assert found["ampswarm_response_time_seconds_bucket", "+Inf", "BootNotification", "OCPP"] >= FLEET
    assert 0 < found["ampswarm_response_time_seconds_sum", "BootNotification", "OCPP"] < FLEET * 60
    until(lambda: samples().get(("ampswarm_slo_held", "OCPP/Heartbeat p99 < 60s")) == 1)
    assert found["ampswarm_slo_held", "FLOW/online max < 1us"] == 0
    assert found["ampswarm_test_running",] == 1


def test_a_storm_and_chaos_at_a_click(browser: Browser, scene: Scene) -> None:
    """A share is cut and its recovery is drawn; the central system does what it is told, until it is told otherwise."""
    browser.open(f"{scene.url}/ampswarm/live")
    browser.find("#cut").click()
    browser.wait_for_text("#storm-said", "it comes: share=50% kind=network")
    browser.wait_for_text("#storm-title", "Recovery from storm 1 (share=50% kind=network)")
    until(lambda: [each["back"] for each in scene.page.storms()] == [each["hit"] for each in scene.page.storms()])
    until(lambda: browser.run("return Chart.getChart('chart-storm').data.datasets[0]?.data.at(-1)?.y") == 100)
    browser.find("#chaos button").click()
    browser.wait_for_text("#chaos-said", "it is in force")
    status, chaos = scene.central_system.request("GET", "/api/v1/chaos")
    assert (status, chaos["configuration"]["delays"][0]["seconds"]) == (200, 0.5)
    browser.find("#calm").click()
    browser.wait_for_text("#chaos-said", "no chaos any more")
    assert scene.central_system.request("GET", "/api/v1/chaos")[1]["configuration"] is None
    # What was changed is marked in the charts, beside the storm; also what somebody did elsewhere, and is in force.
    marks = "return Chart.getChart('chart-rate').$marks.map(mark => mark.label)"
    until(lambda: sorted(browser.run(marks)) == ["chaos", "chaos ends", "storm 1"])
    assert scene.central_system.request("PUT", "/api/v1/chaos", {"boots": [{"status": "Pending"}]})[0] == 200
    browser.wait_for_text("#chaos-now", "In force, until it is ended or replaced: boots")
    assert scene.central_system.request("DELETE", "/api/v1/chaos")[0] == 204
    assert scene.central_system.request("POST", "/api/v1/chaos/stalls", {"seconds": 0.1})[0] == 202
    until(lambda: browser.run(marks).count("stall") == 1)
    until(lambda: sorted(browser.run(marks)) == ["chaos", "chaos", "chaos ends", "chaos ends", "stall", "storm 1"])
    assert browser.find("#chaos-now").text == ""


def test_a_chart_is_read_with_the_keyboard(browser: Browser, scene: Scene) -> None:
    """Whoever has no mouse, or does not see it, gets the figures of each time; and hides a line by its button."""
    browser.open(f"{scene.url}/ampswarm/live")
    until(lambda: len(browser.texts("#chart-fleet-legend button")) >= 2)
    chart = browser.find("#chart-fleet")
    chart.type(END)
    told = browser.run("return arguments[0].parentElement.querySelector('.unseen').textContent", chart.argument)
    when, *figures = told.split(", ")
    assert ":" in when
    assert sum(int(each.split(": ")[1]) for each in figures) == FLEET
    chart.type(LEFT)
    said = "return arguments[0].parentElement.querySelector('.unseen').textContent"
    assert browser.run(said, chart.argument).split(", ")[0] != when
    online = browser.find("#chart-fleet-legend li:nth-child(1) button")
    name = online.text
    online.type(ENTER)
    hidden = "return Chart.getChart('chart-fleet').data.datasets.filter(set => set.hidden).map(set => set.label)"
    assert browser.run(hidden) == [name]
    assert browser.run("return arguments[0].getAttribute('aria-pressed')", online.argument) == "false"
    # Also after the next update.
    browser.run("window.updates = 0; const ask = window.fetch; "
                "window.fetch = (...what) => { window.updates++; return ask(...what); };")  # fmt: skip
    until(lambda: browser.run("return window.updates") >= 2)
    assert browser.run(hidden) == [name]


def test_it_is_light_or_dark_as_locusts_own_page(browser: Browser, scene: Scene) -> None:
    """What is chosen on one page holds for the other."""
    dark = "return getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'"
    browser.open(f"{scene.url}/ampswarm/live")
    assert not browser.run(dark)
    browser.find("#theme").click()
    assert browser.run(dark)
    browser.open(f"{scene.url}/?tab=stats")
    browser.wait_for_text("table", "Heartbeat")
    assert browser.run(dark)
    browser.run("localStorage.removeItem('theme')")


def test_the_tab_in_locusts_own_page(browser: Browser, scene: Scene) -> None:
    """Beside Locust's statistics, in its style; also as a file, and after a reset of the statistics."""
    browser.open(f"{scene.url}/?tab=fleet")
    browser.wait_for_text("main, body", "Waiting for boot")
    until(lambda: any(cells[0] == "all" and cells[1] == f"{FLEET}" for cells in rows(browser, "table tbody tr")))
    # Every state of every process, as `fleet.json` has it; nothing moves any more.
    states = ("charge_points", *CONDITIONS)

    def seen_and_told() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        seen = {cells[0]: cells[1 : 1 + len(states)] for cells in rows(browser, "table tbody tr")}
        fleet = json.loads(scene.page.get("/ampswarm/fleet.json"))
        told = {**fleet["generators"], "all": fleet["total"]}
        return seen, {name: [f"{row[state]}" for state in states] for name, row in told.items()}

    until(lambda: (pair := seen_and_told())[0] == pair[1])
    assert seen_and_told()[0]["all"][:6] == ["30", "0", "0", "0", "20", "10"]
    assert browser.find(f"a[href='{BASE}/ampswarm/live']").text == "Live"
    lines = list(csv.DictReader(io.StringIO(scene.page.get("/ampswarm/fleet.csv"))))
    assert [line["Generator"].split()[0] for line in lines] == ["worker", "worker", "all"]
    assert [int(line["Charge points"]) for line in lines] == [FLEET // 2, FLEET // 2, FLEET]
    assert scene.page.request("POST", "/stats/reset")[0] == 200
    assert scene.total()["charge_points"] == FLEET
    # What was before is gone, and the page says so.
    assert "statistics reset" in [each["what"] for each in scene.news()["events"]]


def test_percentiles_in_locusts_table_have_three_digits(browser: Browser, scene: Scene) -> None:
    """The 50th too: times below a millisecond are told apart, which the page's own medians do not do."""
    browser.open(f"{scene.url}/?tab=stats")
    browser.wait_for_text("table", "Heartbeat")
    titles = [" ".join(each.split()) for each in browser.texts("table thead th")]
    assert titles[4:8] == ["Median (ms)", "50%ile (ms)", "95%ile (ms)", "99%ile (ms)"]

    def digits() -> list[int]:
        found = [cells[5] for cells in rows(browser, "table tbody tr") if cells[0] == "OCPP"]
        return [len(each.replace(".", "").strip("0")) for each in found]

    until(lambda: 3 in digits())
    assert max(digits()) == 3


def names(browser: Browser) -> list[str]:
    """Return the first column of the tab's table."""
    return [cells[0] for cells in rows(browser, "table tbody tr")]


def test_the_tab_can_be_sorted_and_downloaded(browser: Browser, scene: Scene) -> None:
    """By a click on a title or by the keyboard; it stays sorted while Locust's page updates it, the sum below."""
    browser.open(f"{scene.url}/?tab=fleet")
    until(lambda: len(names(browser)) == 3)
    # A worker's name has a random number in it, and 8f comes before 15.
    natural = "return arguments[0].sort((one, two) => one.localeCompare(two, 'en', { numeric: true }))"
    one, two = browser.run(natural, [name for name in names(browser) if name != "all"])
    browser.find("table th[aria-sort]").click()
    assert names(browser) == [one, two, "all"]
    browser.find("table th[aria-sort=ascending]").type(ENTER)
    assert names(browser) == [two, one, "all"]
    assert browser.texts("table th[aria-sort=descending]") == ["Generator"]
    # Each has its own figures, also after the next updates, in which React writes them anew.
    browser.run("window.seen = 0; new MutationObserver(() => window.seen++).observe("
                "document.querySelector('table tbody'), {subtree: true, characterData: true})")  # fmt: skip
    until(lambda: browser.run("return window.seen") >= 3)
    assert names(browser) == [two, one, "all"]
    commands = {cells[0]: cells[1] for cells in rows(browser, "table tbody tr")}
    assert commands == {one: f"{FLEET // 2}", two: f"{FLEET // 2}", "all": f"{FLEET}"}
    assert browser.run("return document.querySelector('table caption a').pathname") == f"{BASE}/ampswarm/fleet.csv"


def test_a_chart_of_a_long_run_keeps_its_outages_and_peaks(browser: Browser, scene: Scene) -> None:
    """Three seconds without an answer, and one with many, among twenty minutes: fewer points tell of both."""
    browser.open(f"{scene.url}/ampswarm/live")
    until(lambda: browser.run("return Chart.getChart('chart-rate').data.datasets.length") > 0)
    drawn = browser.run("""
        return import(`${location.pathname}/charts.js`).then(charts => {
          const rate = at => at === 777 ? 900 : at >= 500 && at < 503 ? 0 : 100;
          const rows = [...Array(1200).keys()].map(at => [at, rate(at), 0, 1, 1, 1]);
          const lines = charts.rateLines(new Map([["OCPP/Heartbeat", rows]]), 1, 1200);
          const chart = Chart.getChart("chart-rate");
          charts.show(chart, lines);
          return chart.data.datasets[0].data.map(point => point.y);
        })""")
    assert len(drawn) <= 600
    assert (min(drawn), max(drawn)) == (0, 900)


def test_by_the_keyboard_and_on_a_telephone(browser: Browser, scene: Scene) -> None:
    """Nothing is out of reach without a mouse, and nothing wider than a narrow screen."""
    browser.session.set_window_size(500, 900)
    browser.open(f"{scene.url}/ampswarm/live")
    browser.wait_for_text("#figure-all", f"{FLEET}")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    until(lambda: bool(browser.find_all("#fleet th button")))
    by_number = browser.find_all("#fleet th button")[1]
    by_number.type(ENTER)
    assert browser.run("return document.querySelectorAll('#fleet th')[1].getAttribute('aria-sort')") == "descending"
    by_number.type(ENTER)
    assert browser.run("return document.querySelectorAll('#fleet th')[1].getAttribute('aria-sort')") == "ascending"
    named = "each => each.ariaLabel ?? each.labels?.[0]?.innerText"
    assert all(browser.run(f"return [...document.querySelectorAll('canvas, input, select')].map({named})"))
    browser.session.set_window_size(1280, 1000)


def test_nothing_moves_or_is_made_anew_while_it_updates(browser: Browser, scene: Scene) -> None:
    """No element goes, and the browser sees no shift of the layout: a page that jumps cannot be read."""
    browser.open(f"{scene.url}/ampswarm/live")
    until(lambda: browser.run("return Chart.getChart('chart-rate').data.datasets.length") > 0)
    browser.run("""
        window.updates = 0; window.gone = []; window.shift = 0;
        const ask = window.fetch;
        window.fetch = (...what) => { window.updates++; return ask(...what); };
        new MutationObserver(all => all.forEach(each => each.removedNodes.forEach(
          node => { if (node.nodeType === 1) window.gone.push(node.tagName); }
        ))).observe(document.body, { childList: true, subtree: true });
        new PerformanceObserver(list => list.getEntries().forEach(each => { window.shift += each.value; }))
          .observe({ type: "layout-shift" });""")
    until(lambda: browser.run("return window.updates") >= 4)
    assert browser.run("return window.gone") == []
    assert browser.run("return window.shift") < 0.001


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark(browser: Browser, scene: Scene, scheme: str) -> None:
    """4.5 to 1 between each text and what is behind it (WCAG 2.2, 1.4.3)."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.tell("Emulation.setEmulatedMedia", features=features)
    browser.open(f"{scene.url}/ampswarm/live")
    browser.wait_for_text("#fleet", "all")
    found = browser.run(
        CONTRAST
        + """
        return [...document.querySelectorAll("body *")]
          .filter(each => each.offsetParent)
          .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
          .map(each => [contrast(getComputedStyle(each).color, behind(each)), each.textContent.slice(0, 40)]);"""
    )
    # And 3 to 1 between what is drawn and the card that it is drawn on (1.4.11).
    until(lambda: len(browser.run("return Chart.getChart('chart-fleet').data.datasets")) >= 2)
    found += browser.run(
        CONTRAST
        + """
        return Object.values(Chart.instances).flatMap(chart => chart.data.datasets.map(
          set => [contrast(`rgb(${set.borderColor.match(/[0-9a-f]{2}/g).map(each => parseInt(each, 16))})`,
            behind(chart.canvas)) * 1.5, set.label]));"""
    )
    assert len(found) > 60
    assert [(round(ratio, 1), text) for ratio, text in found if ratio < 4.5] == []
    dark = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, dark.strip("rgb()").split(","))) < 200) == (scheme == "dark")
    browser.tell("Emulation.setEmulatedMedia", features=[])


def test_other_sites_cannot_change_anything(scene: Scene) -> None:
    """A page of somebody else's in the same browser; and a mistake is one line."""
    headers = {"Content-Type": "application/json", "Origin": "http://evil.example"}
    assert scene.page.request("PUT", "/ampswarm/chaos", b"{}", headers)[0] == 403
    ours = {"Content-Type": "application/json"}
    assert scene.page.request("PUT", "/ampswarm/chaos", b"7", ours)[0] == 415
    status, body = scene.page.request("PUT", "/ampswarm/chaos", b'{"delays": 7}', ours)
    assert status == 422
    assert json.loads(body)["message"]
    assert scene.page.request("GET", "/ampswarm/live/../plugin.py")[0] == 404
    assert scene.page.request("GET", "/ampswarm/live/live.html")[0] == 404


def test_behind_a_login_nothing_is_told_and_after_it_all_is(running: Browser, tmp_path: Path) -> None:
    """`--web-login`: what Locust does not show, this does not either; whoever has logged in has the page."""
    (tmp_path / "login.py").write_text(LOGIN)
    port = free_port()
    options = ("--web-host", "127.0.0.1", "--web-port", str(port), "--web-login", "--host", "ws://127.0.0.1:9")
    with Locust(tmp_path, *options, locustfile=tmp_path / "login.py"):
        page = LocustPage(port)
        until(page.is_there)
        paths = ("live", "live.json", "live/live.js", "fleet.json", "fleet.csv", "chaos", "tables.js", "storms")
        for path in paths:
            status, body = page.request("GET", f"/ampswarm/{path}")
            assert status == 200
            assert '"isAuthPage"' in body or "authArgs" in body, path
        url = f"http://127.0.0.1:{port}"
        running.open(f"{url}/ampswarm/live")
        assert running.find_all("#chart-fleet") == []
        running.open(f"{url}/enter")
        running.console()
        running.open(f"{url}/ampswarm/live")
        running.wait_for_text("#test", "ready")
        assert running.find_all("#chart-fleet") != []
        assert running.console() == []


def test_a_test_after_another_in_the_same_process(tmp_path: Path) -> None:
    """Its clock stands still when it ends; and it leaves the report of the one before as it is."""
    port = free_port()
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as central_system:
        options = (
            *("--web-host", "127.0.0.1", "--web-port", str(port), "--host", central_system.url),
            *("--operator-api", central_system.admin, "--report-json", f"{tmp_path / 'run.json'}"),
        )
        with Locust(tmp_path, *options, locustfile=STEADY_STATE):
            page = LocustPage(port)
            until(page.is_there)

            def news() -> dict[str, Any]:
                found: dict[str, Any] = json.loads(page.get("/ampswarm/live.json"))
                return found

            for name in ("run.json", "run-2.json"):
                form = f"user_count=3&spawn_rate=3&host={central_system.url}".encode()
                assert page.request("POST", "/swarm", form)[0] == 200
                until(lambda: any(row["online"] == 3 for row in news()["fleet"]["rows"]))
                assert page.request("POST", "/stop")[0] == 200
                until(lambda name=name: (tmp_path / name).exists())  # type: ignore[misc]
            over = news()["test"]["at"]
            # Also between tests, the page says what is in force.
            assert central_system.request("PUT", "/api/v1/chaos", {"boots": [{"status": "Pending"}]})[0] == 200
            until(lambda: news()["chaos"] is not None)
            assert news()["test"]["at"] == over
    first, second = (json.loads((tmp_path / name).read_text())["run"] for name in ("run.json", "run-2.json"))
    assert first["began"] < second["began"]
    assert "--autostart" in second["command"]


def test_a_password_for_the_ui_without_code(running: Browser, tmp_path: Path) -> None:
    """`AMPSWARM_UI_PASSWORD_FILE`: Locust's own login page, below a base path; without it, nobody gets anything."""
    (tmp_path / "password").write_text("open sesame\n")
    port = free_port()
    options = (
        "--web-host",
        "127.0.0.1",
        "--web-port",
        str(port),
        "--web-base-path",
        BASE,
        "--host",
        "ws://127.0.0.1:9",
    )
    with Locust(
        tmp_path, *options, locustfile=STEADY_STATE, env={"AMPSWARM_UI_PASSWORD_FILE": f"{tmp_path / 'password'}"}
    ):
        page = LocustPage(port, BASE)
        until(page.is_there)
        assert "authArgs" in page.get("/ampswarm/live.json")
        assert page.request("POST", "/swarm", b"user_count=1&spawn_rate=1")[0] == 200
        url = f"http://127.0.0.1:{port}{BASE}"
        running.open(f"{url}/ampswarm/live")
        for password, seen in (("wrong", "the password is wrong"), ("open sesame", "Ampswarm live")):
            until(lambda: running.find_all("input[name=password]") != [])
            running.find("input[name=username]").type("anybody")
            running.find("input[name=password]").type(f"{password}{ENTER}")
            running.wait_for_text("body", seen)
        running.wait_for_text("#test", "ready")
