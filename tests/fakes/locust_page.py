"""Locust's web UI as a browser's scripts talk to it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.processes import TIMEOUT


class LocustPage:
    """The web UI of a Locust process.

    Args:
        port: where it listens.
        base: what `--web-base-path` says.
    """

    def __init__(self, port: int, base: str = "") -> None:
        self._url = f"http://127.0.0.1:{port}{base}"

    def get(self, path: str) -> str:
        """Return what a GET is answered; fail unless that is 200."""
        status, body = self.request("GET", path)
        assert status == 200, body
        return body

    def is_there(self) -> bool:
        """Return whether it answers."""
        try:
            return self.request("GET", "/")[0] == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def form(self, path: str, **fields: object) -> dict[str, Any]:
        """Send a form; return what the answer says as JSON."""
        data = urllib.parse.urlencode(fields).encode()
        status, body = self.request("POST", path, data, {"Content-Type": "application/x-www-form-urlencoded"})
        assert status == 200, body
        answer: dict[str, Any] = json.loads(body)
        return answer

    def requests(self, kind: str, name: str) -> int:
        """Return how many requests Locust's table has of a type and name."""
        rows = json.loads(self.get("/stats/requests"))["stats"]
        return sum(row["num_requests"] for row in rows if (row["method"], row["name"]) == (kind, name))

    def storm(self, storm: object, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Let a storm begin; return the status of the answer, and what it says."""
        data = json.dumps({"storm": storm}).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        status, body = self.request("POST", "/ampswarm/storm", data, sent)
        message: str = json.loads(body)["message"]
        return status, message

    def events(self) -> list[dict[str, Any]]:
        """Return what the live page marks, beside storms."""
        found: list[dict[str, Any]] = json.loads(self.get("/ampswarm/live.json"))["events"]
        return found

    def storms(self) -> list[dict[str, Any]]:
        """Return the storms of the test, as the page shows them."""
        found: list[dict[str, Any]] = json.loads(self.get("/ampswarm/storms"))["storms"]
        return found

    def request(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Send a request; return the status and the body."""
        request = urllib.request.Request(self._url + path, data, dict(headers or {}), method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
