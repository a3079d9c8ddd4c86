"""The report for people: one file, with the verdict first, that asks nobody for anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampswarm.results.html import to_html
from ampswarm.results.report import Report, load
from tests.browser import Browser
from tests.processes import ROOT, CentralSystem, clean_environment, run_locust, until
from tests.results.runs import drifting_run

ODD = "</script><img src=x onerror=alert(1)><!--"


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    """One browser for all tests; skipped where there is none, but not in CI."""
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(running: Browser) -> Iterator[Browser]:
    """A test must leave nothing on the console, and ask for nothing but the file."""
    running.open("about:blank")
    running.console()
    running.requested()
    yield running
    assert running.console() == []
    asked = [url for url in running.requested() if not url.startswith(("about:", "data:", "chrome:"))]
    assert len(asked) == 1
    assert asked[0].startswith("file:")


def drawn(browser: Browser) -> int:
    """Return how many charts have something in them."""
    script = (
        "return Object.values(Chart.instances).filter(each => each.data.datasets.some(set => set.data.length)).length"
    )
    count: int = browser.run(script)
    return count


def ampswarm(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ampswarm", *args],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_run_leaves_a_report_that_explains_itself(
    browser: Browser, central_system: CentralSystem, tmp_path: Path
) -> None:
    """Verdict, SLOs, charts with the storm, tables, ledger, generators, and how to repeat it, without a secret."""
    run = run_locust(
        tmp_path, "--headless", "-u", "10", "-t", "9s", "--host", central_system.url, "--reconnect-max", "1.5",
        *("--slo", "OCPP/Heartbeat p99 < 60s", "--slo", "OCPP/* count > 1000000"),
        *("--storm", "at=3s share=50% kind=network"),
        "--operator-api", central_system.admin, "--operator-token", "s3cret",
        "--report-html", str(tmp_path / "run.html"), "--report-json", str(tmp_path / "run.json"),
    )  # fmt: skip
    assert run.status == 3, run.output
    page = (tmp_path / "run.html").read_text()
    assert "s3cret" not in page
    browser.open((tmp_path / "run.html").as_uri())
    assert browser.text("h1") == "Missed"
    headings = browser.texts("h2")
    assert headings == [
        "SLOs", "Over time", "All rows, in milliseconds", "Storms", "The central system's ledger", "Load generators",
        "How to repeat it",
    ]  # fmt: skip
    text = browser.text("main")
    assert f"10 charge points of steady_state.py against {central_system.url}" in text
    assert "storm 1 (at=3s share=50% kind=network)" in text
    # Fleet, rates, latencies of three actions, the storm, generators.
    assert drawn(browser) == 7
    command = browser.text("pre")
    assert "--slo 'OCPP/* count > 1000000'" in command
    assert "--storm 'at=3s share=50% kind=network'" in command
    assert "--users 10" in command
    # The same again from the JSON, but for its name.
    done = ampswarm("report", str(tmp_path / "run.json"), "--out", str(tmp_path / "again.html"))
    assert (done.returncode, done.stderr) == (0, "")
    again = (tmp_path / "again.html").read_text()
    assert len(again) == pytest.approx(len(page), abs=len(str(tmp_path)) + 100)


def test_two_runs_side_by_side_say_what_changed(browser: Browser, tmp_path: Path) -> None:
    """Charts and tables of both, and first of all what got worse."""
    for name, slower in (("before", 1.0), ("after", 2.0)):
        drifting_run(7, slower=slower).save(tmp_path / f"{name}.json")
    done = ampswarm("report", str(tmp_path / "before.json"), str(tmp_path / "after.json"))
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "before-after.html"))
    browser.open((tmp_path / "before-after.html").as_uri())
    assert browser.texts("h2")[0] == "From A to B"
    assert any("worse" in row for row in browser.texts("h2 + .scroll tr, p + .scroll tr"))
    assert len(browser.texts(".verdict")) == 2
    assert drawn(browser) >= 4
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def outside(browser: Browser) -> list[str]:
    """Return the charts that are not whole within their cards."""
    found: list[str] = browser.run("""
        return [...document.querySelectorAll("canvas")].filter(canvas => {
          const [drawn, card] = [canvas, canvas.closest(".card")].map(each => each.getBoundingClientRect());
          const isWithin = drawn.left >= card.left && drawn.right <= card.right && drawn.bottom <= card.bottom;
          return !(drawn.width > 0 && isWithin);
        }).map(canvas => canvas.ariaLabel)""")
    return found


def test_it_prints_on_paper_as_it_is_seen(browser: Browser, tmp_path: Path) -> None:
    """Charts as wide as the columns of a page of A4, and on the screen again as they were."""
    drifting_run(7).save(tmp_path / "run.json")
    assert ampswarm("report", str(tmp_path / "run.json")).returncode == 0
    browser.open((tmp_path / "run.html").as_uri())
    widths = "return [...document.querySelectorAll('canvas')].map(each => each.clientWidth)"
    before = browser.run(widths)
    assert outside(browser) == []
    browser.run("dispatchEvent(new Event('beforeprint'))")
    size = {"width": 700, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.tell("Emulation.setEmulatedMedia", media="print")
    browser.tell("Emulation.setDeviceMetricsOverride", **size)
    assert outside(browser) == []
    assert all(width < 350 for width in browser.run(widths))
    browser.tell("Emulation.setEmulatedMedia", media="")
    browser.tell("Emulation.clearDeviceMetricsOverride")
    browser.run("dispatchEvent(new Event('afterprint'))")
    until(lambda: browser.run(widths) == before)
    assert outside(browser) == []


def test_what_comes_from_the_wire_stays_text(browser: Browser, tmp_path: Path) -> None:
    """An action, an error or a name with markup in it."""
    data = json.loads(json.dumps(dict(drifting_run(1).data)))
    data["statistics"][0]["name"] = data["timeline"]["rows"][0]["name"] = ODD
    data["statistics"][0]["errors"] = {ODD: 3}
    data["run"]["scenario"] = ODD
    (tmp_path / "odd.html").write_bytes(to_html(Report(data, ODD)))
    browser.open((tmp_path / "odd.html").as_uri())
    assert ODD in browser.text("main")
    assert browser.find_all("img") == []
    assert not browser.has_dialog()


def test_a_mistake_is_one_line_and_status_2(tmp_path: Path) -> None:
    """A file that is no report, and one that cannot be written."""
    (tmp_path / "none.json").write_text("{}")
    drifting_run(1).save(tmp_path / "good.json")
    assert load(tmp_path / "good.json").status == "none"
    for args, said in (
        ((str(tmp_path / "none.json"),), "is no report of a run"),
        ((str(tmp_path / "missing.json"),), "No such file or directory"),
        ((str(tmp_path / "good.json"), "--out", str(tmp_path / "no" / "x.html")), "No such file or directory"),
    ):
        done = ampswarm("report", *args)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
