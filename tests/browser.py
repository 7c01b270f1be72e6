"""A headless Chromium for tests, driven through its DevTools protocol: open, wait, click, look. Nothing else needed."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """The browser's program, or None where there is none."""
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


class Page:
    """One page of a browser of its own. Use it as a context manager.

    Args:
        folder: an empty folder for the browser's profile.
    """

    def __init__(self, folder: Path, width_px: int = 1440, height_px: int = 900) -> None:
        program = chromium()
        assert program is not None, "no Chromium on this machine"
        size = f"--window-size={width_px},{height_px}"
        command = [program, *FLAGS, size, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._socket = self._connect(folder)
        self._count = 0
        self.call("Page.enable")
        self.call("Runtime.enable")

    def __enter__(self) -> "Page":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)

    def _connect(self, folder: Path) -> ClientConnection:
        from urllib.request import urlopen

        note = folder / "DevToolsActivePort"
        port = until(lambda: note.is_file() and note.read_text().split("\n")[0], "the browser to start", 60)
        with urlopen(f"http://127.0.0.1:{port}/json") as answer:
            targets = json.load(answer)
        address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        return connect(address, max_size=1 << 28)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the DevTools protocol; its result."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self) -> str:
        """What a reader sees on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def click(self, label: str, timeout_s: float = 60) -> None:
        """Click the button with this text with the mouse, as soon as it is there and enabled."""
        script = (
            "(() => { const b = [...document.querySelectorAll('button')].find(b => !b.disabled && "
            f"b.innerText.trim().startsWith({json.dumps(label)})); if (!b) return null; "
            "const r = b.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        x, y = until(lambda: self.evaluate(script), f"a button {label!r}", timeout_s)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        """What the window shows, as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def until(probe: Any, what: str, timeout_s: float) -> Any:
    """The first true answer of `probe`; a failure that says what was waited for."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.25)
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}")
