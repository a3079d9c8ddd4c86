"""Pages of one's own below `/ampswarm` of Locust's web UI: where they are, and who may ask for something there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from flask import Blueprint, Request

PREFIX: Final = "ampswarm"


def base_path(web_ui: Any) -> str:  # noqa: ANN401  Locust's, which is untyped
    """Return `--web-base-path` without a slash at its end; empty for none."""
    return (web_ui.environment.parsed_options.web_base_path or "").rstrip("/")


def pages(web_ui: Any, name: str) -> Blueprint:  # noqa: ANN401
    """Return a blueprint below `/ampswarm`, behind `--web-base-path` too; to be registered when it is complete."""
    from flask import Blueprint  # noqa: PLC0415  only a master or a single process has it

    return Blueprint(f"{PREFIX}_{name}", __name__, url_prefix=f"{base_path(web_ui)}/{PREFIX}")


def foreign(request: Request) -> str | None:
    """Return a line if a request comes from a page of somebody else's.

    Locust lets pages of any origin ask for anything: that a body is JSON would keep nobody out.
    """
    origin = request.headers.get("Origin")
    if origin is None or urlsplit(origin).netloc == request.host:
        return None
    return f"from {origin}: only Locust's own pages may do this"
