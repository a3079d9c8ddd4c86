"""The command line that a report gives to repeat its run."""

from __future__ import annotations

import argparse
import shlex

import pytest
from locust.argument_parser import get_parser
from locust.env import Environment

import ampswarm.load
from ampswarm.load.verdict import _command


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
    program, flag, file, *rest = shlex.split(_command(environment))
    assert (program, flag, file) == ("locust", "-f", "town.py")
    assert vars(parsed(rest)) == vars(given)
