"""A page in a real browser: Chromium, driven by playwright. Tests are skipped where either is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a browser."""
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
        yield launched
        launched.close()


class OpenPage:
    """A page opened from disk, with everything that it logged, raised or requested."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, theme: str = "light", **settings: Any) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce", **settings
        )
        self.page = self.context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.blocked: list[str | None] = []
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        # What the page asks for is counted where the browser's network begins.
        protocol = self.context.new_cdp_session(self.page)
        protocol.send("Network.enable")
        protocol.on("Network.requestWillBeSent", lambda event: self.requests.append(event["request"]["url"]))
        protocol.on("Network.loadingFailed", lambda event: self.blocked.append(event.get("blockedReason")))
        self.page.goto(path.as_uri())

    def __enter__(self) -> OpenPage:
        return self

    def __exit__(self, *reason: object) -> None:
        self.context.close()

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Return the value of a script in the page."""
        return self.page.evaluate(script, argument)


def find_barriers(opened: OpenPage) -> list[Any]:
    """Return what axe finds on a page, which must have been opened with ``bypass_csp``; skip where there is no axe."""
    axe = pytest.importorskip("axe_core_python", reason="needs the scripts of axe-core, which are not installed")
    opened.evaluate(next(Path(axe.__file__).parent.glob("*axe.min.js")).read_text("utf-8"))
    found = opened.evaluate("axe.run()")
    assert len(found["passes"]) > 20
    return [
        (item["id"], item["impact"], [node["target"] for node in item["nodes"]][:3]) for item in found["violations"]
    ]
