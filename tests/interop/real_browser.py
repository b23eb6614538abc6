"""A real browser: Debian's chromium, led by Playwright; every page it comes to is examined by axe."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Iterator
from pathlib import Path

from peers import find
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PHONE, DESK = 360, 1280  # pixels
_SERIOUS = ("serious", "critical")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """One for all tests of a module: it takes a second to start."""
    path = find("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def axe() -> str:
    """The script that finds what keeps people from using a page."""
    return importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


class Visitor:
    """Somebody at a browser, with cookies of their own; a picture of a page with a fault goes to `shots`."""

    def __init__(self, browser: Browser, base: str, shots: Path, *, scripts: bool = True) -> None:
        self._context: BrowserContext = browser.new_context(
            base_url=base,
            java_script_enabled=scripts,
            viewport={"width": DESK, "height": 800},
            reduced_motion="reduce",  # colours that still change would be examined half way
        )
        self._context.set_default_timeout(20_000)
        self._axe = axe() if scripts else ""
        self._shots = shots
        self.page: Page = self._context.new_page()
        self.complaints: list[str] = []  # of the browser: what its policy kept from running, say
        self.page.on("console", lambda said: self._hear(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def go(self, target: str) -> None:
        """Open a link."""
        self.page.goto(target)

    def fill(self, **fields: str) -> None:
        """Type into fields, by their names."""
        for name, value in fields.items():
            self.page.fill(f"#{name}", value)

    def press(self, button: str) -> None:
        """Press the button that reads so, and wait for the page it leads to."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=button, exact=True).click()

    def read(self, selector: str = "main") -> str:
        """What is read there."""
        return self.page.inner_text(selector)

    def examine(self, name: str) -> None:
        """Nothing serious keeps anybody from using this page, light or dark, and it fits a phone."""
        if self._axe:  # what is folded is looked at too
            self.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        for width, scheme in ((DESK, "dark"), (PHONE, "light")):
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its words
            if self._axe:
                try:
                    self._examine(f"{name}, {width} pixels, {scheme}")
                except AssertionError:
                    self.page.screenshot(path=self._shots / f"{name}-{width}-{scheme}.png", full_page=True)
                    raise
        self.page.set_viewport_size({"width": DESK, "height": 800})

    def _examine(self, name: str) -> None:
        page = "document.documentElement"
        assert not self.page.evaluate(f"{page}.scrollWidth > {page}.clientWidth"), f"{name} is too wide"
        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(self._axe)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
        serious = [each for each in found if each["impact"] in _SERIOUS]
        assert [(each["help"], each["nodes"][0]["html"]) for each in serious] == [], name

    def close(self) -> None:
        """Forget everything."""
        self._context.close()
