"""A storm at the push of a button, from the live page or by whatever speaks HTTP.

| request, below `--web-base-path` | |
|---|---|
| `POST ampswarm/storm` | lets a storm begin: JSON, `{"storm": "kind=network share=50%"}` |
| `GET ampswarm/storms` | the storms of this test, and how the fleet came back: JSON |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ampswarm.load.storm_spec import InvalidStorm, parse_storm
from ampswarm.load.storms import StormNotPossible, Storms
from ampswarm.load.web_pages import foreign, pages
from ampswarm.results.recovery import tables

if TYPE_CHECKING:
    from flask import Response


def add_storm_requests(web_ui: Any, storms: Storms) -> None:  # noqa: ANN401  Locust's, which is untyped
    """Let Locust's web UI answer them."""
    from flask import jsonify, make_response, request  # noqa: PLC0415  only a process with a UI has it

    routes = pages(web_ui, "storms")

    def answer(status: int, message: str) -> Response:
        return make_response(jsonify({"success": status == 200, "message": message}), status)

    @routes.get("/storms")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def results() -> Response:
        found = storms.section()
        return jsonify({"storms": found, "text": tables(found)})

    @routes.post("/storm")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def begin() -> Response:
        if wrong := foreign(request):
            return answer(403, wrong)
        body = request.get_json(silent=True)
        if not isinstance(body, dict) or not isinstance(body.get("storm"), str):
            return answer(415, 'what is wanted is JSON: {"storm": "kind=network share=50%"}')
        try:
            storm = parse_storm(body["storm"])
            storms.strike(storm)
        except InvalidStorm as error:
            return answer(400, f"{error}")
        except StormNotPossible as error:
            return answer(409, f"{error}")
        return answer(200, f"it comes: {storm}")

    web_ui.app.register_blueprint(routes)
