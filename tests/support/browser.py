"""Pages in a real browser: Chromium, driven by playwright. Tests are skipped where either is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Window:
    """A window of the browser that shows one page after another, since a window costs more than most pages do.

    ``messages``, ``requests`` and ``blocked`` are what the page logged, raised, requested and was refused.
    """

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_context(reduced_motion="reduce").new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.blocked: list[str | None] = []
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        # Requests are counted where the browser's network begins.
        self._protocol = self.page.context.new_cdp_session(self.page)
        self._protocol.send("Network.enable")
        self._protocol.on("Network.requestWillBeSent", lambda event: self.requests.append(event["request"]["url"]))
        self._protocol.on("Network.loadingFailed", lambda event: self.blocked.append(event.get("blockedReason")))

    def open(self, path: Path, width: int = 1280, theme: str = "light", *, bypass_policy: bool = False) -> None:
        """Open a page from disk; with ``bypass_policy``, scripts that are not part of it can run in it."""
        self.page.goto("about:blank")  # The page before logs nothing from here on.
        self.page.mouse.move(0, 0)
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(media="screen", color_scheme=theme)
        self._protocol.send("Page.setBypassCSP", {"enabled": bypass_policy})
        for events in (self.messages, self.requests, self.blocked):
            events.clear()
        self.page.goto(path.as_uri())

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Return the value of a script in the page."""
        return self.page.evaluate(script, argument)


@contextmanager
def open_window() -> Iterator[Window]:
    """Yield a window of a browser."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="drives a browser with playwright, which is not installed"
    )
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    with playwright.sync_playwright() as driver:
        try:
            # Chromium refuses its sandbox to root, which is who runs tests in a container.
            launched = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"there is no Chromium to open pages in: {str(error).splitlines()[0]}")
        yield Window(launched)
        launched.close()


def find_barriers(window: Window) -> list[Any]:
    """Return what axe finds on a page in light and dark colours; skip where there is no axe.

    The page must have been opened with ``bypass_policy``.
    """
    axe = pytest.importorskip("axe_core_python", reason="needs the scripts of axe-core, which are not installed")
    window.evaluate(next(Path(axe.__file__).parent.glob("*axe.min.js")).read_text("utf-8"))
    barriers = []
    for theme in ("light", "dark"):
        window.page.emulate_media(color_scheme=theme)
        # Of the rules that a page follows, one element each is enough.
        found = window.evaluate("axe.run({resultTypes: ['violations']})")
        assert len(found["passes"]) > 20
        for item in found["violations"]:
            barriers.append((theme, item["id"], item["impact"], [node["target"] for node in item["nodes"]][:3]))
    return barriers
