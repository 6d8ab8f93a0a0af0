"""Chromium over its debugging pipe: real keys, a window of any width, screenshots. No library between.

Commands are the Chrome DevTools Protocol's, one JSON object each, ended by a zero byte, over file descriptors 3 and 4.
Every wait is for an answer of the browser; the caller's time-out ends it.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe", "about:blank",
)  # fmt: skip
_KEYS = {"Tab": ("Tab", 9, ""), "Enter": ("Enter", 13, "\r"), "Space": ("Space", 32, " ")}


def axe() -> Path | None:
    """Where the script of axe-core lies, if it is installed (out of a package of which nothing else is used)."""
    found = find_spec("axe_playwright_python")
    places = [] if found is None else [Path(p, "axe.min.js") for p in found.submodule_search_locations or ()]
    return next((place for place in places if place.exists()), None)


class Browser:
    """One running Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._number = 0
        self._held = b""

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        data = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            while b"\0" not in self._held:
                part = os.read(self._answers, 1 << 16)
                if not part:
                    raise ConnectionError("Chromium has ended")
                self._held += part
            line, _, self._held = self._held.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise ValueError(f"{method}: {answer['error']['message']}")
                return answer["result"]  # type: ignore[no-any-return]

    @contextmanager
    def page(
        self, file: Path, width: int, height: int, language: str, ready: str, *, dark: bool = False
    ) -> Iterator[Page]:
        """A file in a window of its own, once ``ready`` (JavaScript) is true in it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.call("Page.enable")
        page.call(
            "Page.setBypassCSP", enabled=True
        )  # for axe's own script; the page keeps its policy otherwise
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        agent = self.call("Browser.getVersion")["userAgent"]
        page.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Page.navigate", url=file.as_uri())
        page.until(ready)
        yield page
        self.call("Target.closeTarget", targetId=target)


@dataclass(frozen=True, slots=True)
class Page:
    """One window."""

    browser: Browser
    session: str

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **parameters)

    def tell(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise ValueError(done["exceptionDetails"].get("exception", {}).get("description", "failed"))
        return done["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait, frame by frame, until a condition is true; through the loading of another document too."""
        while True:
            try:
                if self.tell(f"new Promise(done => requestAnimationFrame(() => done(Boolean({condition}))))"):
                    return
            except ValueError:  # the document went while it was asked
                continue

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key goes down and up."""
        code, number, text = _KEYS[key]
        about = {
            "key": " " if key == "Space" else key, "code": code, "windowsVirtualKeyCode": number,
            "modifiers": 8 if shift else 0,
        }  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def write(self, text: str) -> None:
        """Text, into what has the focus."""
        self.call("Input.insertText", text=text)

    def faults(self, script: Path) -> list[str]:
        """What axe-core finds against WCAG 2.2 A and AA and its best practices: rule, place, why."""
        self.tell(script.read_text(encoding="utf-8") + "; 0")
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        options = json.dumps({"runOnly": tags, "resultTypes": ["violations"]})
        found = self.tell(
            f"axe.run(document, {options}).then(done => done.violations.flatMap(one => one.nodes.map("
            "node => `${one.id}: ${node.target} ${node.failureSummary}`)))"
        )
        return list(found)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """A screenshot (PNG), of the window or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def chromium(directory: Path) -> Iterator[Browser]:
    """A Chromium of one's own, without a window or a network."""
    assert CHROMIUM is not None
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]

    def wired() -> None:
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    run = subprocess.Popen(
        [CHROMIUM, f"--user-data-dir={directory / 'profile'}", *_OPTIONS],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
        preexec_fn=wired, start_new_session=True,
    )  # fmt: skip
    for end in (theirs_in, theirs_out, *high):
        os.close(end)
    browser = Browser(commands, answers)
    try:
        yield browser
        browser.call("Browser.close")
    finally:
        os.close(commands)
        os.close(answers)
        try:
            run.wait(20)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
