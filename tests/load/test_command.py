"""The command line that a report gives to repeat its run."""

from __future__ import annotations

import argparse
import shlex

import pytest
from locust.argument_parser import get_parser
from locust.env import Environment

import ampswarm.load
from ampswarm.load.verdict import _command, _without_secrets


def parsed(arguments: list[str]) -> argparse.Namespace:
    assert ampswarm.load  # its options are Locust's now
    found: argparse.Namespace = get_parser().parse_args(args=arguments)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["--headless", "-u", "20", "-r", "5", "-t", "10s"],
        ["--slo", "OCPP/* p99 < 250ms", "--slo", "fail_ratio < 0.1%", "--storm", "at=3s kind=herd", "--require-online"],
        ["--headless", "--processes", "2", "-u", "20"],
        ["--tags", "a", "b", "--stop-timeout", "5"],
        ["Bay", "Post", "--tags", "a", "b"],
        ["--master", "--expect-workers", "2", "--autostart"],
    ],
)
def test_it_means_what_was_given(arguments: list[str]) -> None:
    """Whoever pastes it runs the same test: no flag is lost, and none is there that Locust refuses."""
    given = parsed(arguments)
    # As Locust and Ampswarm leave them: a run of several processes has made itself a master.
    options = argparse.Namespace(**vars(given))
    if options.processes:
        options.master, options.expect_workers = True, 2
    options.enable_rebalancing = True
    options.stop_timeout = options.stop_timeout or 0
    environment = Environment(parsed_options=options)
    environment.parsed_locustfiles = ["town.py"]
    program, flag, file, *rest = shlex.split(_command(environment, options))
    assert (program, flag, file) == ("locust", "-f", "town.py")
    assert vars(parsed(rest)) == vars(given)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://me:pw@db/x", "postgresql://db/x"),
        (["https://a:b@one", "https://two"], ["https://one", "https://two"]),
        ("https://api/x?access_token=abc&page=2", "https://api/x?access_token=…&page=2"),
        ("Authorization: Bearer abc", "Authorization: …"),
        (["X-Api-Key: abc", "Accept: text/plain"], ["X-Api-Key: …", "Accept: text/plain"]),
        ("Cookie: a=b; c=d", "Cookie: …"),
        ("bearer abc", "bearer …"),
        ("wss://auth.example.com:8443/ocpp", "wss://auth.example.com:8443/ocpp"),
        ("OCPP/Authorize p99 < 250ms", "OCPP/Authorize p99 < 250ms"),
        ("at=60s share=50% kind=network", "at=60s share=50% kind=network"),
        (5, 5),
        (None, None),
    ],
)
def test_no_secret_is_shown(value: object, shown: object) -> None:
    """Reports are sent around, with the options of the run: a scenario's own too, whatever they are called."""
    assert _without_secrets(value) == shown
