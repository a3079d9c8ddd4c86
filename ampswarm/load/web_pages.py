"""Pages of one's own below `/ampswarm` of Locust's web UI: where they are, and who may ask for something there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Blueprint, Request, Response

PREFIX: Final = "ampswarm"
_BUTTONS: Final = '<nav aria-label="Ampswarm" style="position:fixed;right:1rem;bottom:1rem;z-index:2000">{links}</nav>'
_SCRIPT: Final = '<script src="{url}" data-csv="{csv}" defer></script>'
_BUTTON: Final = """<a href="{url}" target="_blank" style="margin-left:.5rem;padding:.5rem 1rem;border-radius:4px;\
background:{color};color:#fff;font:500 .9rem sans-serif;text-decoration:none">{words}</a>"""


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


def add_to_main_page(web_ui: Any, buttons: Mapping[str, tuple[str, str]], script: bytes) -> None:  # noqa: ANN401
    """Add what is ours to Locust's own page.

    Args:
        web_ui: Locust's.
        buttons: lead to pages of ours: words and color, by the page's name.
        script: looks after the tables of our tabs.
    """
    from flask import Response, request  # noqa: PLC0415  only a master or a single process has it

    base = base_path(web_ui)
    links = "".join(
        _BUTTON.format(url=f"{base}/{PREFIX}/{name}", words=words, color=color)
        for name, (words, color) in buttons.items()
    )

    tables = _SCRIPT.format(url=f"{base}/{PREFIX}/tables.js", csv=f"{base}/{PREFIX}/fleet.csv")
    routes = pages(web_ui, "main")

    @routes.get("/tables.js")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def tables_script() -> Response:
        return Response(script, mimetype="text/javascript")

    web_ui.app.register_blueprint(routes)

    @web_ui.app.after_request  # type: ignore[untyped-decorator]
    def add_them(response: Response) -> Response:
        if request.path.rstrip("/") == base and request.method == "GET" and response.mimetype == "text/html":
            text = response.get_data(as_text=True)
            response.set_data(text.replace("</body>", f"{_BUTTONS.format(links=links)}{tables}</body>", 1))
        return response
