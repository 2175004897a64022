"""Chromium by the DevTools protocol: one page at a time, in any size and theme, with all that it complains of."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

START_SECONDS = 30.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
)  # fmt: skip


class Tab:
    """One page. `complaints` are errors of its console, refusals of its policy and exceptions; `requests` are the
    addresses that it asked for; `dialogs` what it wanted to say."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Ends the connection."""
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._socket.close()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its answer. Raises `RuntimeError` where Chromium refuses it."""
        self._number += 1
        answer = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        found = await asyncio.wait_for(answer, 60)
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        result: dict[str, Any] = found["result"]
        return result

    async def open(self, url: str, width: int = 1280, height: int = 900, theme: str = "light") -> None:
        """Opens an address in a size and a colour scheme and waits until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)
        feature = {"name": "prefers-color-scheme", "value": theme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), 60)

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    async def again(self, expression: str) -> None:
        """Asks what makes the page load anew, and waits until it has."""
        self._loaded.clear()
        await self.ask(f"setTimeout(() => {{ {expression} }}), 0")
        await asyncio.wait_for(self._loaded.wait(), 60)

    async def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    async def _listen(self) -> None:
        async for message in self._socket:
            content = message.json()
            if "id" in content:
                self._waiting.pop(content["id"]).set_result(content)
            else:
                self._hear(content["method"], content["params"])

    def _hear(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Page.javascriptDialogOpening":
            self.dialogs.append(told["message"])
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(told["args"]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))


@asynccontextmanager
async def chromium(program: str, folder: Path) -> AsyncIterator[Tab]:
    """A browser with an empty profile in a folder of its own, and its page."""
    with (folder / "chromium.log").open("wb") as log:
        command = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        port = await _port(process, folder)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                found = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(found[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                try:
                    yield tab
                finally:
                    await tab.close()
    finally:
        # the program is a script on Debian: what it has started ends with it
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)


async def _port(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Chromium chooses a free port and writes it down."""
    told = folder / "profile" / "DevToolsActivePort"
    async with asyncio.timeout(START_SECONDS):
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"Chromium ended: {(folder / 'chromium.log').read_text()[-2000:]}")
            if told.exists() and (lines := told.read_text().splitlines()):
                return int(lines[0])
            await asyncio.sleep(0.05)
