"""A real browser for tests: Chromium without a window, driven by Selenium."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from selenium.common.exceptions import NoAlertPresentException, WebDriverException
from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.processes import TIMEOUT, free_port, until
from tests.services import find

_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    # Only what the page asks for leaves the browser.
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    *("--disable-default-apps", "--disable-extensions", "--disable-domain-reliability", "--no-proxy-server"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
_FOLDERS = ("/usr/lib/chromium",)


class Element:
    """An element of the page."""

    def __init__(self, element: WebElement) -> None:
        self.argument = element
        """As it is given to a script."""

    @property
    def text(self) -> str:
        """What is seen of it."""
        return self.argument.text

    @property
    def value(self) -> str:
        """What a field holds."""
        return str(self.argument.get_property("value"))

    def click(self) -> None:
        """Click in the middle of it, as a mouse does: what lies over it is an error."""
        self.argument.click()

    def type(self, text: str) -> None:
        """Type a text into it; the private characters of WebDriver are keys."""
        self.argument.send_keys(text)

    def clear(self) -> None:
        """Empty a field."""
        self.argument.clear()


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
        self._session: Remote | None = None

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
        options = ChromeOptions()
        options.binary_location = self._chromium
        for flag in (*self._flags, f"--user-data-dir={self._folder}/profile"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        until(self._listens)
        self._session = Remote(f"http://127.0.0.1:{self._port}", options=options)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "chromedriver has ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), TIMEOUT):
            return True
        return False

    @property
    def session(self) -> Remote:
        """Selenium's, for what is not here."""
        assert self._session is not None
        return self._session

    def close(self) -> None:
        """End it, and all that it has started."""
        if self._session is not None:
            with suppress(WebDriverException, OSError):
                self._session.quit()
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(TIMEOUT)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- what a person does and sees --------------------------------------------------------------

    def open(self, url: str) -> None:
        """Go to a page."""
        self.session.get(url)

    def find(self, selector: str) -> Element:
        """Return the first element that a CSS selector fits; wait for it if need be."""
        end = time.monotonic() + TIMEOUT
        while not (found := self.find_all(selector)):
            assert time.monotonic() < end, f"there is no {selector}: {self.text('body')}"
            time.sleep(0.05)
        return found[0]

    def find_all(self, selector: str) -> list[Element]:
        """Return all elements that a CSS selector fits now."""
        return [Element(each) for each in self.session.find_elements(By.CSS_SELECTOR, selector)]

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
        return self.session.execute_script(script, *arguments)

    # -- what it has noted ------------------------------------------------------------------------

    def console(self) -> list[str]:
        """Return what was written to the console since it was asked last, violations of the policy too."""
        noted = self._log("browser")
        return [f"{each['level']}: {each['message']}" for each in noted]

    def requested(self) -> list[str]:
        """Return the URLs of all requests since it was asked last."""
        noted = self._log("performance")
        events = [json.loads(each["message"])["message"] for each in noted]
        return [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]

    def has_dialog(self) -> bool:
        """Return whether the page shows a dialog, such as that of `alert`."""
        try:
            _ = self.session.switch_to.alert.text
        except NoAlertPresentException:
            return False
        return True

    def _log(self, kind: str) -> list[dict[str, Any]]:
        # chromedriver has it, W3C's WebDriver has not; Selenium knows of it for a local Chrome only.
        found: list[dict[str, Any]] = self.session.execute("getLog", {"type": kind})["value"]
        return found

    def tell(self, command: str, **parameters: Any) -> Any:
        """Give a command of Chrome's own protocol (DevTools); return its result."""
        return self.session.execute("executeCdpCommand", {"cmd": command, "params": parameters})["value"]
