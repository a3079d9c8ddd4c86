"""A password for Locust's web UI, without code in the locustfile: `--ui-password`, with Locust's own login page."""

from __future__ import annotations

import argparse
import hmac
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import gevent

from ampswarm.load.web_pages import PREFIX, base_path, pages

if TYPE_CHECKING:
    from flask import Response

USER: Final = "ampswarm"
"""Whoever knows the password."""
_PAUSE: Final = 1.0
"""Seconds until the answer to a wrong password: nobody tries many."""


class AskForLogin(argparse.Action):
    """Takes the password, and turns Locust's `--web-login` on, at which it looks before any listener is called."""

    def __call__(
        self,
        parser: object,  # noqa: ARG002  as argparse calls it
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Take it."""
        setattr(namespace, self.dest, values)
        if values:
            namespace.web_login = True


def add_login(web_ui: Any, password: str) -> None:  # noqa: ANN401  Locust's, which is untyped
    """Let those in who know the password, as whatever user."""
    from flask import redirect, request, session  # noqa: PLC0415  only a process with a UI has it
    from flask_login import UserMixin, login_user  # noqa: PLC0415

    class _User(UserMixin):  # type: ignore[misc]
        def get_id(self) -> str:
            return USER

    # A restart logs everybody out.
    web_ui.app.config.update(
        SECRET_KEY=secrets.token_hex(32), SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_HTTPONLY=True
    )
    web_ui.login_manager.user_loader(lambda user: _User() if user == USER else None)
    routes = pages(web_ui, "login")
    base = base_path(web_ui)
    web_ui.auth_args = {"username_password_callback": f"{base}/{PREFIX}/login"}

    @routes.post("/login")
    def log_in() -> Response:
        given = request.form.get("password", "")
        # Locust's form does not say it, but its page was asked for with it. Nowhere but here.
        wanted = (parse_qs(urlsplit(request.referrer or "").query).get("next") or [""])[0]
        if not wanted.startswith(f"{base}/") or wanted.startswith(("//", "/\\")):
            wanted = ""
        if hmac.compare_digest(given.encode(), password.encode()):
            session["auth_error"] = None
            login_user(_User())
            return redirect(wanted or f"{base}/")  # type: ignore[return-value]
        gevent.sleep(_PAUSE)
        session["auth_error"] = "the password is wrong"
        query = f"?{urlencode({'next': wanted})}" if wanted else ""
        return redirect(f"{base}/login{query}")  # type: ignore[return-value]

    web_ui.app.register_blueprint(routes)
