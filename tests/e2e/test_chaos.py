"""The load generator against a central system that goes wrong on purpose: Locust's figures must tell what was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import CentralSystem, Locust, Run, until


def run(tmp_path: Path, chaos: str, *args: str, users: int = 10, seconds: int = 6) -> tuple[Run, dict[str, int]]:
    """Run a steady fleet against a chaos file; return Locust's figures, and what the central system says it did."""
    file = tmp_path / "chaos.toml"
    file.write_text(chaos)
    with CentralSystem(
        tmp_path / "cs.log", "--boot-interval", "1", "--chaos", str(file), env={"HEARTBEAT_INT_MS": "500"}
    ) as server:
        with Locust(
            tmp_path, "--headless", "-t", f"{seconds}s", "-u", str(users), "--host", server.url, "--seed", "1", *args
        ) as locust:
            ran = locust.wait()
        events = server.summary()["events"]
    return ran, {name.removeprefix("chaos: "): times for name, times in events.items() if name.startswith("chaos: ")}


def test_a_delay_of_200_ms_is_a_response_time_of_200_ms(tmp_path: Path) -> None:
    """What Locust reports is the wire time: no less than the delay, and not much more."""
    ran, done = run(tmp_path, '[[delays]]\nactions = ["Heartbeat"]\nseconds = 0.2\n')
    assert ran.status == 0, ran.output
    heartbeats = ran.rows["OCPP/Heartbeat"]
    assert heartbeats.requests >= 20
    assert heartbeats.failures == 0
    assert 200 <= heartbeats.average < 300
    assert ran.rows["OCPP/BootNotification"].average < 200
    # Those whose answers Locust's stop did not wait for are no requests.
    assert 0 <= done["answers delayed"] - heartbeats.requests <= 10


def test_refused_upgrades_are_counted_by_status(tmp_path: Path) -> None:
    """Each refusal is a failure of connect, by its status; who was told to come back later is online in the end.

    With this seed, nobody is refused more than twice.
    """
    ran, done = run(
        tmp_path,
        "seed = 4\n[[refusals]]\nstatus = 503\nretry_after = 1\nrate = 0.3\n[[refusals]]\nstatus = 429\nrate = 0.2\n",
        "--reconnect-max", "1.5", "--require-online", users=12, seconds=9,
    )  # fmt: skip
    failures = {
        status: sum(times for what, times in ran.failures.items() if what.startswith("WS/connect") and status in what)
        for status in ("503", "429")
    }
    refused = {status: done[f"upgrades refused with {status}"] for status in failures}
    assert all(refused.values()), refused
    assert refused == failures
    assert ran.rows["FLOW/online"].requests == 12
    assert ran.rows["WS/connect"].requests == 12 + sum(refused.values())


@pytest.mark.parametrize("rule", ["withheld_answers", "wrong_ids"])
def test_an_answer_that_does_not_come_is_a_failure(tmp_path: Path, rule: str) -> None:
    """Withheld or under another id: the Call has no answer in time, is counted so, and no other is blamed."""
    ran, done = run(tmp_path, f'seed = 1\n[[{rule}]]\nactions = ["Heartbeat"]\nrate = 0.2\n', "--call-timeout", "1")
    heartbeats = ran.rows["OCPP/Heartbeat"]
    (done_to,) = done.values()
    assert done_to >= 3
    # The last second's may not have timed out yet.
    assert 0 <= done_to - heartbeats.failures <= 10
    assert heartbeats.failures >= 3
    assert ran.rows["/Aggregated"].failures == heartbeats.failures
    (what,) = ran.failures
    assert "Heartbeat" in what
    assert ran.rows["FLOW/online"].requests == 10


def test_a_stall_is_seen_by_all_who_wait(tmp_path: Path) -> None:
    """Two seconds in which nobody is answered are in the maximum, and no charge point goes for it."""
    ran, done = run(tmp_path, "[[stalls]]\nat = 3.5\nseconds = 2\n", seconds=7)
    assert ran.status == 0, ran.output
    assert done == {"stalls": 1}
    assert ran.rows["OCPP/Heartbeat"].maximum >= 900
    assert ran.rows["WS/connect"].requests == 10
    assert ran.rows["/Aggregated"].failures == 0


def test_withheld_pings_end_the_connection_of_who_watches_them(tmp_path: Path) -> None:
    """The watch on PINGs notices that they stop, and the charge point connects again; for it, 1.6 knows no failure."""
    # Few Heartbeats: their answers would tell the watch that the connection lives.
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "60", env={"HEARTBEAT_INT_MS": "300"}) as server:
        with Locust(
            tmp_path, "--headless", "-t", "12s", "-u", "5", "--host", server.url, "--ping-watch", "fixed",
            "--ping-watch-timeout", "2", "--reconnect-max", "1",
        ) as locust:  # fmt: skip
            until(lambda: sum(pinged(server)) == 5)
            assert server.request("PUT", "/api/v1/chaos", {"withheld_pings": [{}]})[0] == 200
            ran = locust.wait()
        summary = server.summary()
    assert ran.output.count("why='no PING in time'") == 5
    # Once each: on the new connection no PING came that would arm the watch.
    assert ran.rows["WS/connect"].requests == ran.rows["FLOW/online"].requests == 10
    assert summary["events"]["chaos: PINGs withheld"] >= 5
    assert summary["events"]["connections opened"] == 10


def pinged(server: CentralSystem) -> list[bool]:
    """Return for each charge point whether it has got a PING, and answered."""
    found = server.request("GET", "/api/v1/charge-points")[1]["charge_points"]
    return [each["round_trip_seconds"] is not None for each in found]
