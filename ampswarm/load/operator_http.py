"""Single requests to the bundled central system's operator API, other than Calls."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT: Final = 5.0
"""Seconds for an answer."""


def ask(options: Any, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:  # noqa: ANN401
    """Return the status and the JSON of an answer; or 502 and a `message` that says why there is none.

    Args:
        options: those of Locust, with `operator_api` and `operator_token`.
        method: of HTTP.
        path: below `/api/v1`.
        body: sent as JSON; `None` for none.
    """
    headers = {"Content-Type": "application/json"}
    if options.operator_token:
        headers["Authorization"] = f"Bearer {options.operator_token}"
    data = None if body is None else json.dumps(body).encode()
    url = f"{options.operator_api.rstrip('/')}/api/v1{path}"
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  http, as the option demands
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_TIMEOUT) as answer:
            text = answer.read()
            return 200, json.loads(text) if text else {}
    except urllib.error.HTTPError as error:
        with error:
            said = error.read()
        try:
            words = json.loads(said)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            words = f"the operator API answered {error.code}"
        return 502 if error.code >= 500 else error.code, {"message": words}
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        return 502, {"message": f"no operator API answers at {options.operator_api} (--operator-api): {why}"}
