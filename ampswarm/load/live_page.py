"""The live page: the fleet, latencies, storms, generators and SLOs of the test that runs, as charts.

| request, below `--web-base-path` | |
|---|---|
| `GET ampswarm/live` | the page |
| `GET ampswarm/live/…` | what it is made of; the charts' library too, from the installation |
| `GET ampswarm/live.json` | what is new to a page that has `generation`, `after` and `fleet_after` |
| `GET`, `PUT`, `DELETE ampswarm/chaos` | the chaos of the bundled central system, by its `--operator-api` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import gevent
import orjson

from ampswarm.load.fleet_page import fleet_rows
from ampswarm.load.operator_http import ask
from ampswarm.load.web_pages import foreign, pages
from ampswarm.page import asset
from ampswarm.results.census import CONDITIONS
from ampswarm.results.recovery import tables
from ampswarm.results.running import RunningRows

if TYPE_CHECKING:
    from flask import Response

    from ampswarm.load.chaos_watch import ChaosWatch
    from ampswarm.load.fleet import Fleet
    from ampswarm.load.standing import Standing

_ASSETS: Final = {
    "colors.css": "text/css",
    "live.css": "text/css",
    "live.js": "text/javascript",
    "charts.js": "text/javascript",
    "chart.js": "text/javascript",
}


class Live:
    """What the live page shows.

    Args:
        fleet: that of a master, or of a single process.
        standing: of the SLOs.
        watch: of the central system's chaos.
    """

    def __init__(self, fleet: Fleet, standing: Standing, watch: ChaosWatch) -> None:
        self._fleet = fleet
        self._rows = RunningRows(fleet.recorder.timeline)
        self._standing = standing
        self._watch = watch

    def news(self, generation: int, after: float, fleet_after: float) -> dict[str, Any]:
        """Return what a page does not know yet.

        Args:
            generation: of the windows that it has.
            after: seconds since the test began: windows that begin later.
            fleet_after: rows of the fleet's history that are later.
        """
        self._watch.look_if_idle()
        fleet = self._fleet
        timeline = fleet.recorder.timeline
        if generation != timeline.generation:
            after = fleet_after = float("-inf")
        while not self._rows.catch_up(after):
            gevent.sleep(0)
        if generation != timeline.generation:
            after = fleet_after = float("-inf")  # also if that was so only now
        series: dict[str, list[list[float]]] = {}
        for begin, rows in self._rows.windows(after):
            for (kind, name), row in rows.items():
                series.setdefault(f"{kind}/{name}", []).append([begin, *row])
        census = fleet.census
        storms = fleet.storms.section()
        return {
            "generation": timeline.generation,
            "width": timeline.width,
            "test": self._test(),
            "series": series,
            "fleet": {
                "conditions": CONDITIONS,
                "rows": fleet_rows(census, fleet.health),
                "history": census.census.history(fleet_after),
            },
            "slos": [each.as_dict() for each in self._standing.now()],
            "storms": [
                {
                    name: storm[name]
                    for name in ("title", "began", "hit", "were_online", "back", "curve", "seconds_until")
                }
                for storm in storms
            ],
            "recovery": tables(storms[-1:]),
            "chaos": self._watch.configuration,
            "events": [{"at": each["at"], "what": each["what"]} for each in fleet.incidents.as_list()],
        }

    def _test(self) -> dict[str, Any]:
        environment = self._fleet.environment
        runner: Any = environment.runner
        judge = self._fleet.judge
        report = None if judge is None else judge.report
        is_over = runner.state in {"stopped", "ready"}
        return {
            "state": runner.state,
            "at": round(self._fleet.recorder.elapsed, 1),
            "charge_points": runner.user_count,
            "host": environment.host or "",
            "verdict": report.status.value if report is not None and is_over else "",
            "invalid": self._fleet.health.reasons(),
        }


def add_live_page(web_ui: Any, fleet: Fleet, standing: Standing, watch: ChaosWatch) -> None:  # noqa: ANN401  Locust's, which is untyped
    """Add the page to Locust's web UI."""
    from flask import Response, jsonify, make_response, request  # noqa: PLC0415  only a process with a UI has it

    routes = pages(web_ui, "live")
    live = Live(fleet, standing, watch)

    @routes.get("/live")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def page() -> Response:
        return Response(asset("live.html"), mimetype="text/html")

    @routes.get("/live/<name>")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def part(name: str) -> Response:
        if name not in _ASSETS:
            return Response(f"there is no {name}", 404, mimetype="text/plain")
        answer = Response(asset(name), mimetype=_ASSETS[name])
        answer.headers["Cache-Control"] = "max-age=300"
        return answer

    @routes.get("/live.json")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def news() -> Response:
        given = request.args
        none = float("-inf")
        generation = given.get("generation", -1, type=int)
        found = live.news(generation, given.get("after", none, type=float), given.get("fleet_after", none, type=float))
        return Response(orjson.dumps(found), mimetype="application/json")

    @routes.route("/chaos", methods=["GET", "PUT", "DELETE"])
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def chaos() -> Response:
        if wrong := foreign(request):
            return make_response(jsonify({"message": wrong}), 403)
        body = request.get_json(silent=True) if request.method == "PUT" else None
        if request.method == "PUT" and not isinstance(body, dict):
            return make_response(jsonify({"message": "what is wanted is JSON: chaos, as a file has it"}), 415)
        status, answer = ask(fleet.environment.parsed_options, request.method, "/chaos", body)
        if request.method != "GET" and status == 200:
            # In the report it is marked now, and not only at its next look.
            watch.look()
        return make_response(jsonify(answer), status)

    web_ui.app.register_blueprint(routes)
