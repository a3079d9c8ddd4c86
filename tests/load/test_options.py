"""Options, environment variables and the web UI's form: one clear line and status 2 for a mistake."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ampswarm.charge_point.backoff import Growth
from ampswarm.charge_point.ping_watch import WatchMode
from ampswarm.load.options import (
    OPTIONS,
    InvalidOption,
    Settings,
    central_system_url,
    check_form,
)
from ampswarm.option_types import identity_format
from tests.processes import run_locust


def options(**changed: object) -> argparse.Namespace:
    return argparse.Namespace(**{**{each.dest: each.default for each in OPTIONS}, **changed})


@pytest.mark.parametrize(
    ("args", "env", "said"),
    [
        ([], {"CS_PORT": "abc"}, "--cs-port or CS_PORT: 'abc' is not a port"),
        ([], {"CS_PORT": "0"}, "--cs-port or CS_PORT: '0' is not a port"),
        ([], {"CS_PROTOCOL": "http"}, "--cs-protocol or CS_PROTOCOL: 'http' is none of: ws, wss"),
        ([], {"CS_HOST": ""}, "--cs-host or CS_HOST: '' is not a host name"),
        ([], {"AMPSWARM_IDENTITY_FORMAT": "{:c}"}, "is not a format of identities"),
        ([], {"CS_HOST": "a b"}, "--cs-host or CS_HOST: 'a b' is not a host name"),
        ([], {"CONCURRENCY_LEVEL": "-1"}, "CONCURRENCY_LEVEL: '-1' is not a number of charge points"),
        ([], {"LOG_PAYLOAD": "maybe"}, "LOG_PAYLOAD: 'maybe' is neither true nor false"),
        (["--call-timeout", "nan"], {}, "--call-timeout or AMPSWARM_CALL_TIMEOUT: 'nan' is not a time"),
        (["--identity-format", "CP"], {}, "several charge points the same identity"),
        (["--identity-format", "{:q}"], {}, "is not a format of identities"),
        (["--reconnect", "never"], {}, "'never' is none of: exponential, fixed"),
        (["--reconnect-min", "100"], {}, "must be above 0 and not longer than the longest"),
        (["--max-loop-lag", "500ms"], {}, "--max-loop-lag or AMPSWARM_MAX_LOOP_LAG: '500ms' is not a time in seconds"),
        (["--max-clock-jump", "-1"], {}, "--max-clock-jump or AMPSWARM_MAX_CLOCK_JUMP: '-1' is not a time in seconds"),
        ([], {"AMPSWARM_MAX_PORTS": "101"}, "--max-ports or AMPSWARM_MAX_PORTS: '101' is not a share in percent"),
        ([], {"AMPSWARM_MAX_OPEN_FILES": "nan"}, "AMPSWARM_MAX_OPEN_FILES: 'nan' is not a share in percent"),
        ([], {"AMPSWARM_GC_FREEZE": "maybe"}, "AMPSWARM_GC_FREEZE: 'maybe' is neither true nor false"),
        (["--host", "http://localhost"], {}, "--host: 'http://localhost' is not an OCPP-J endpoint"),
        (["--host", "wss://x", "--tls-ca-file", "/no/such.pem"], {}, "/no/such.pem: No such file"),
        (["--host", "wss://x", "--tls-ca-file", __file__], {}, "no PEM certificate in it"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path: Path, args: list[str], env: dict[str, str], said: str) -> None:
    """Found before the first connection, named with its flag and its variable, without a traceback."""
    run = run_locust(tmp_path, "--headless", "-t", "1s", *args, env=env)
    assert run.status == 2, run.output
    errors = [line for line in run.output.splitlines() if ": error: " in line]
    assert len(errors) == 1, run.output
    assert said in errors[0]
    assert "Traceback" not in run.output


def test_defaults_are_the_original_s() -> None:
    """The environment that ran the experiment runs here unchanged."""
    assert central_system_url(options()) == "ws://localhost:8080"
    assert central_system_url(options(cs_protocol="wss", cs_host="::1", cs_port=443)) == "wss://[::1]:443"
    settings = Settings.from_options(options())
    assert settings.handshake_timeout == 120
    assert settings.log_lifecycle
    assert not settings.log_payload
    assert settings.identity_format.format(1) == "CP000001"
    assert settings.template.backoff.growth is Growth.EXPONENTIAL
    assert (settings.template.backoff.minimum, settings.template.backoff.maximum) == (1, 90)
    assert settings.template.ping_watch.mode is WatchMode.LEARN
    assert settings.tls_verify


def test_the_original_s_fixed_delay_and_fixed_watch_are_among_the_choices() -> None:
    """90 s and 31 s, as it was."""
    template = Settings.from_options(options(reconnect="fixed", ping_watch="fixed")).template
    assert template.backoff.growth is Growth.FIXED
    assert template.backoff.maximum == 90
    assert template.ping_watch.mode is WatchMode.FIXED
    assert template.ping_watch.timeout == 31


def test_contradictions_are_named() -> None:
    """Each of the two is well-formed; together they make no sense."""
    with pytest.raises(InvalidOption, match="--reconnect-min and --reconnect-max"):
        Settings.from_options(options(reconnect_min=10.0, reconnect_max=5.0))


@pytest.mark.parametrize("text", ["CP{:06d}", "{0}", "RDAM {:x}", "a/b-{}"])
def test_identity_formats_that_work(text: str) -> None:
    """Anything that gives each number its own identity."""
    assert text == identity_format(text)


@pytest.mark.parametrize(
    "text", ["", "CP", "{x}", "{1}", "{:s}", "{", "{0.real.imag.x}", "{:300d}", "{:c}", "{!s:.1}", "CP{:.0e}"]
)
def test_identity_formats_that_do_not(text: str) -> None:
    """Found before the first connection."""
    with pytest.raises(argparse.ArgumentTypeError):
        identity_format(text)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"call_timeout": "abc"}, "'abc' is not a time in seconds"),
        ({"connectors": "0"}, "'0' is not a number of connectors"),
        ({"host": "localhost"}, "must start with ws:// or wss://"),
        ({"reconnect_min": "9", "reconnect_max": "3"}, "must be above 0 and not longer"),
        ({"reconnect_min": "100"}, "must be above 0 and not longer"),
    ],
)
def test_the_web_ui_s_form_is_checked_like_the_command_line(form: dict[str, str], said: str) -> None:
    """Locust's own check of a form value is `int()`: a traceback in its log, and nothing on the page."""
    message = check_form(form, options())
    assert message is not None
    assert said in message


def test_a_good_form_passes() -> None:
    """Locust's own fields, and fields left out, are none of our business."""
    form = {"user_count": "5", "host": "ws://localhost/ocpp", "log_payload": "true", "connectors": "2"}
    assert check_form(form, options()) is None
    assert check_form({}, options()) is None
