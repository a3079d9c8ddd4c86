"""A real browser for tests: Chromium without a window, driven by its own driver over W3C WebDriver.

The protocol is JSON over HTTP, and a page needs a dozen of its commands: no library is needed for that.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.processes import TIMEOUT, free_port, until
from tests.services import find

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which WebDriver tells an element's reference."""
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    # Only what the page asks for leaves the browser.
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    *("--disable-default-apps", "--disable-extensions", "--disable-domain-reliability", "--no-proxy-server"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
_FOLDERS = ("/usr/lib/chromium",)


class WebDriverError(Exception):
    """What the browser did not do."""


class Element:
    """An element of the page."""

    def __init__(self, browser: Browser, reference: str) -> None:
        self._browser = browser
        self._path = f"/element/{reference}"
        self._reference = reference

    @property
    def argument(self) -> dict[str, str]:
        """As it is given to a script."""
        return {_ELEMENT: self._reference}

    @property
    def text(self) -> str:
        """What is seen of it."""
        text: str = self._browser.command("GET", f"{self._path}/text")
        return text

    @property
    def value(self) -> str:
        """What a field holds."""
        value: str = self._browser.command("GET", f"{self._path}/property/value")
        return value

    def click(self) -> None:
        """Click in the middle of it, as a mouse does: what lies over it is an error."""
        self._browser.command("POST", f"{self._path}/click", {})

    def type(self, text: str) -> None:
        """Type a text into it; the private characters of WebDriver are keys."""
        self._browser.command("POST", f"{self._path}/value", {"text": text})

    def clear(self) -> None:
        """Empty a field."""
        self._browser.command("POST", f"{self._path}/clear", {})


class Browser:
    """Chromium with a profile of its own, which ends with the test, however it ends.

    Args:
        width: of the window, in pixels.
        height: of the window, in pixels.
        flags: more of Chromium's.
    """

    def __init__(self, width: int = 1280, height: int = 1000, *flags: str) -> None:
        self._chromium = find("chromium", _FOLDERS)
        self._driver = find("chromedriver", _FOLDERS)
        self._flags = [*_FLAGS, f"--window-size={width},{height}", *flags]
        self._folder = tempfile.mkdtemp(prefix="ampswarm-browser-")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._session = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [self._driver, f"--port={self._port}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": self._folder, "XDG_CONFIG_HOME": self._folder, "XDG_CACHE_HOME": self._folder},
        )
        until(self._is_ready)
        options = {"binary": self._chromium, "args": [*self._flags, f"--user-data-dir={self._folder}/profile"]}
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._request("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = f"/session/{answer['sessionId']}"

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "chromedriver has ended"
        try:
            return bool(self._request("GET", "/status")["ready"])
        except OSError:
            return False

    def close(self) -> None:
        """End it, and all that it has started."""
        if self._session:
            with suppress(WebDriverError, OSError):
                self.command("DELETE", "")
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(TIMEOUT)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- what a person does and sees --------------------------------------------------------------

    def open(self, url: str) -> None:
        """Go to a page."""
        self.command("POST", "/url", {"url": url})

    def find(self, selector: str) -> Element:
        """Return the first element that a CSS selector fits; wait for it if need be."""
        end = time.monotonic() + TIMEOUT
        while not (found := self.find_all(selector)):
            assert time.monotonic() < end, f"there is no {selector}: {self.text('body')}"
            time.sleep(0.05)
        return found[0]

    def find_all(self, selector: str) -> list[Element]:
        """Return all elements that a CSS selector fits now."""
        found = self.command("POST", "/elements", {"using": "css selector", "value": selector})
        return [Element(self, each[_ELEMENT]) for each in found]

    def text(self, selector: str) -> str:
        """Return what is seen of the first element that a CSS selector fits; nothing while there is none."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        text: str = self.run(script, selector)
        return text

    def texts(self, selector: str) -> list[str]:
        """Return what is seen of each element that a CSS selector fits now."""
        texts: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)", selector
        )
        return texts

    def wait_for_text(self, selector: str, wanted: str) -> None:
        """Wait until a text is seen in an element."""
        end = time.monotonic() + TIMEOUT
        while wanted not in (seen := self.text(selector)):
            assert time.monotonic() < end, f"{selector} never said {wanted!r}, but {seen!r}"
            time.sleep(0.05)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self.command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    # -- what it has noted ------------------------------------------------------------------------

    def console(self) -> list[str]:
        """Return what was written to the console since it was asked last, violations of the policy too."""
        noted = self.command("POST", "/se/log", {"type": "browser"})
        return [f"{each['level']}: {each['message']}" for each in noted]

    def requested(self) -> list[str]:
        """Return the URLs of all requests since it was asked last."""
        noted = self.command("POST", "/se/log", {"type": "performance"})
        events = [json.loads(each["message"])["message"] for each in noted]
        return [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]

    def has_dialog(self) -> bool:
        """Return whether the page shows a dialog, such as that of `alert`."""
        try:
            self.command("GET", "/alert/text")
        except WebDriverError as error:
            if "no such alert" in str(error):
                return False
            raise
        return True

    # -- the protocol -----------------------------------------------------------------------------

    def command(self, method: str, path: str, body: Any = None) -> Any:
        """Send a command to the session; return its value."""
        return self._request(method, self._session + path, body)

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            with error:
                said = json.load(error)["value"]
            raise WebDriverError(f"{said['error']}: {said['message']}") from None
