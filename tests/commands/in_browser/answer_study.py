"""Answer a study in Chromium as a person would: python answer_study.py PAGE FOLDER.

Its pictures are plain: red or blue. For every pair red fits the words better, and blue looks better. The page is
reloaded in the middle, and the file that it saves is in FOLDER. Prints what was seen, as JSON.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QEventLoop, QPoint, Qt, QUrl
from PyQt6.QtTest import QTest
from PyQt6.QtWebEngineCore import (
    QWebEngineDownloadRequest,
    QWebEnginePage,
    QWebEngineProfile,
    QWebEngineUrlRequestInfo,
    QWebEngineUrlRequestInterceptor,
)
from PyQt6.QtWebEngineWidgets import QWebEngineView
from PyQt6.QtWidgets import QApplication

DEADLINE_MS = 120_000
"""After which something that is waited for will not come: long, as machines are slow and busy."""


class Requests(QWebEngineUrlRequestInterceptor):
    """All addresses that the page asks for, but for what it holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def interceptRequest(self, info: QWebEngineUrlRequestInfo) -> None:  # noqa: N802  # Qt's name
        if info.requestUrl().scheme() not in ("data", "blob"):
            self.seen.append(bytes(info.requestUrl().toEncoded()).decode())


class Page(QWebEnginePage):
    """One that notes what its scripts complain of."""

    complaints: list[str]

    def javaScriptConsoleMessage(self, level: object, message: str, line: int, source: str) -> None:  # noqa: N802
        self.complaints.append(f"{message} (line {line})")


class Browser:
    def __init__(self, folder: Path) -> None:
        self.requests = Requests()
        self._profile = QWebEngineProfile()
        self._profile.setUrlRequestInterceptor(self.requests)
        self._profile.downloadRequested.connect(self._download)
        self._folder = folder
        self.page = Page(self._profile)
        self.page.complaints = []
        self._view = QWebEngineView()
        self._view.setPage(self.page)
        self._view.resize(1000, 800)
        self._view.show()
        self.saved = ""

    def load(self, path: Path) -> None:
        self._loaded(lambda: self._view.load(QUrl.fromLocalFile(str(path))))

    def reload(self) -> None:
        self._loaded(self._view.reload)

    def _loaded(self, begin: Callable[[], None]) -> None:
        loop = QEventLoop()
        connection = self.page.loadFinished.connect(lambda well: loop.exit(int(well)))
        begin()
        assert loop.exec(), "the page did not load"
        self.page.loadFinished.disconnect(connection)
        self.wait(lambda: bool(self.value("document.hasFocus()")), "keys do not reach the page")

    def value(self, script: str) -> object:
        found: list[object] = []
        loop = QEventLoop()
        self.page.runJavaScript(script, lambda value: (found.append(value), loop.quit()))
        loop.exec()
        return found[0]

    def wait(self, what: Callable[[], bool], told: str) -> None:
        for _ in range(DEADLINE_MS // 20):
            if what():
                return
            QTest.qWait(20)
        raise TimeoutError(told)

    def press(self, key: Qt.Key) -> None:
        QTest.keyClick(self._view.focusProxy(), key)

    def click(self, element: str) -> None:
        QTest.mouseClick(self._view.focusProxy(), Qt.MouseButton.LeftButton, pos=self._middle(element))

    def colour(self, element: str) -> tuple[int, int, int]:
        """What is to be seen in the middle of it."""
        pixel = self._view.grab().toImage().pixelColor(self._middle(element))
        return pixel.red(), pixel.green(), pixel.blue()

    def _middle(self, element: str) -> QPoint:
        x, y = self.value(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])({element}.getBoundingClientRect())"
        )
        return QPoint(int(x), int(y))

    def _download(self, request: QWebEngineDownloadRequest) -> None:
        request.setDownloadDirectory(str(self._folder))
        request.isFinishedChanged.connect(lambda: setattr(self, "saved", request.downloadFileName()))
        request.accept()


def red_side(browser: Browser) -> int:
    """Where the red one of the pair stands, 0 for A and 1 for B, once it is to be seen; "a thing 2" is of green 120."""
    green = 60 * int(str(browser.value("$('prompt').textContent"))[-1])
    wanted = [(220, green, 0), (0, green, 220)]
    found: list[int] = []

    def painted() -> bool:
        seen = [browser.colour(f"objects[{side}]") for side in (0, 1)]
        found[:] = [side for side in (0, 1) if _alike(seen[side], wanted[0]) and _alike(seen[1 - side], wanted[1])]
        return bool(found)

    browser.wait(painted, f"no pair of {wanted} is to be seen")
    return found[0]


def _alike(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 20


def answer(browser: Browser, number: int, question: str, side: int) -> None:
    """In another way for each pair."""
    match number:
        case 0:
            browser.press((Qt.Key.Key_A, Qt.Key.Key_B)[side])
        case 1:
            browser.press((Qt.Key.Key_Left, Qt.Key.Key_Right)[side])
        case _:
            browser.click(f"document.querySelector('[data-question={question}][data-side=\"{side}\"]')")
    browser.wait(lambda: bool(browser.value(f"{question!r} in answersNow()")), f"{question} was not answered")


def expect(browser: Browser, place: str) -> None:
    browser.wait(lambda: browser.value("$('place').textContent") == place, f"{place} does not come")


def whole(browser: Browser, page: Path) -> None:
    """The study from the first to the last pair."""
    browser.load(page)
    browser.press(Qt.Key.Key_Return)
    for number in range(3):
        expect(browser, f"Pair {number + 1} of 3")
        red = red_side(browser)
        answer(browser, number, "fits", red)
        if number == 1:
            browser.reload()
            expect(browser, "Pair 2 of 3")
            assert red_side(browser) == red
            assert browser.value("unanswered().id") == "looks"
        answer(browser, number, "looks", 1 - red)
        browser.press(Qt.Key.Key_Return)
    browser.wait(lambda: browser.value("$('thanks').hidden") is False, "the end does not come")
    browser.click("$('save')")
    browser.wait(lambda: bool(browser.saved), "nothing was saved")


if __name__ == "__main__":
    page, folder = map(Path, sys.argv[1:])
    application = QApplication(sys.argv[:1])
    browser = Browser(folder)
    whole(browser, page)
    seen = {
        "saved": browser.saved,
        "requests": browser.requests.seen,
        "complaints": browser.page.complaints,
        "people": browser.value("[...Array(40)].map(begun)"),
    }
    print(json.dumps(seen))
