"""What a report says of the central system's ledger: of its own run, and of nothing else."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
import websocket
from locust.env import Environment

from ampswarm.load.ledger_section import MOST, LedgerSection
from tests.processes import CentralSystem, until


@pytest.fixture
def central_system(tmp_path: Path) -> Iterator[CentralSystem]:
    with CentralSystem(tmp_path / "cs.log") as running:
        yield running


def environment_of(central_system: CentralSystem, api: str) -> Environment:
    options = argparse.Namespace(operator_api=api, operator_token="")
    return Environment(host=central_system.url, parsed_options=options)


def stop_unknown(central_system: CentralSystem, count: int, first: int) -> None:
    """Send StopTransactions of transactions that there never were."""
    connection = websocket.create_connection(f"{central_system.url}/CP1", subprotocols=["ocpp1.6"])
    for number in range(first, first + count):
        payload = {"transactionId": 100_000 + number, "meterStop": 5, "timestamp": "2026-01-01T00:00:00Z"}
        connection.send(json.dumps([2, f"{number}", "StopTransaction", payload]))
        assert json.loads(connection.recv())[0] == 3
    connection.close()


def test_it_is_the_ledger_of_the_run(central_system: CentralSystem) -> None:
    """Not of all that there was before; and of many anomalies the first, with how many there were."""
    stop_unknown(central_system, 7, 0)
    environment = environment_of(central_system, central_system.admin)
    section = LedgerSection(environment)
    began = time.time()
    environment.events.test_start.fire(environment=environment)
    until(lambda: gevent.sleep(0.01) or section._before is not None)
    stop_unknown(central_system, MOST + 20, 7)
    found = section.of_run(began)
    assert found is not None
    assert found["sums"]["anomalies"] == found["anomalies_in_all"] == MOST + 20
    assert len(found["anomalies"]) == MOST
    assert {"100007", "100106"} <= {f"{each['transaction_id']}" for each in found["anomalies"]}
    assert "100107" not in {f"{each['transaction_id']}" for each in found["anomalies"]}
    assert "trouble" not in found


def test_one_that_was_named_and_does_not_answer_is_told(
    central_system: CentralSystem, caplog: pytest.LogCaptureFixture
) -> None:
    """A report without anomalies would be taken for a good one."""
    section = LedgerSection(environment_of(central_system, "http://127.0.0.1:9"))
    with caplog.at_level(logging.ERROR):
        found = section.of_run(time.time())
    assert found is not None
    assert "no operator API answers at http://127.0.0.1:9" in found["trouble"]
    assert "the report is without a ledger" in caplog.text
