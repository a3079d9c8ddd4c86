"""The page for people at `/`: a few files, which get everything else from the API like any other client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

from server.gate import PAGE

_FOLDER: Final = files("server") / "page"
_INDEX: Final = "index.html"
_MEDIA_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
        *(f"{what} 'none'" for what in ("base-uri", "form-action", "frame-ancestors")),
        # What charge points wrote is shown as text: no script may even try to make markup of a string.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Another version of the central system may be there next time.
    "Cache-Control": "no-cache",
}


class PageRoutes:
    """The routes of the page, which are no part of the API that is described."""

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        for path in PAGE:
            router.add_api_route(path, _file(path[1:] or _INDEX), methods=["GET"], include_in_schema=False)


def _file(name: str) -> Callable[[], Awaitable[Response]]:
    content = (_FOLDER / name).read_bytes()
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]

    async def answer() -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)

    return answer
