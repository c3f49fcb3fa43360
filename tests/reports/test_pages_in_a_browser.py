"""A class's page and people's pages in Chromium: nothing hidden to the side, pictures described, payloads as text.

Needs the package `playwright` and a Chromium of the system's, in $CHROMIUM or on the path.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from classes import CLOSING, FORMULA, MARKUP, PAYLOADS, hostile, lifelike, write_class

from grader import course
from grader.batch.names import safe_name
from grader.reports import write_class_reports

pytestmark = pytest.mark.browser
#: As root there is no sandbox; the others keep a browser from calling home.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = (390, 1280)
AA = 4.5  #: WCAG's least contrast of text

#: Texts whose colour is too near to what is behind them: [text, ratio].
FAINT = """(least) => {
  const light = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * light(r / 255) + 0.7152 * light(g / 255) + 0.0722 * light(b / 255);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || ["TITLE", "DESC"].includes(element.tagName.toUpperCase())) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [luminance(parts(drawn)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) found.push([texts.currentNode.data.trim().slice(0, 40), ratio]);
  }
  return found;
}"""
OPEN_ALL = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"


@dataclass
class Looked:
    """A page that was opened, and what happened meanwhile."""

    page: Any
    happened: list[str] = field(default_factory=list)

    def text(self) -> str:
        return self.page.evaluate("document.body.innerText")

    def images(self) -> list[dict[str, Any]]:
        """What an assistive technology is told of each picture."""
        nodes = self.page.context.new_cdp_session(self.page).send("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if node.get("role", {}).get("value") in ("image", "img", "SvgRoot")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        pytest.skip("there is no Chromium: install it, or name it in $CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("class")
    exercises = (*(e.id for e in course.exercises()), "x1_one", "x2_two")
    write_class(out, [*lifelike(14), *hostile()], exercises, protections={"mounts": True, "landlock": False})
    write_class_reports(out)
    return out


@pytest.fixture(params=WIDTHS)
def look(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    """Opens a page at one width, by its file, and unfolds all of it."""
    pages = []

    def opened(path: Path, scheme: str = "light") -> Looked:
        size = {"width": request.param, "height": 800}
        page = chromium.new_page(viewport=size, color_scheme=scheme)
        pages.append(page)
        looked = Looked(page)
        page.on("console", lambda message: looked.happened.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: looked.happened.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (looked.happened.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: looked.happened.append(asked.url))
        page.goto(path.as_uri())
        assert looked.happened == [path.as_uri()]
        page.evaluate(OPEN_ALL)
        looked.happened.clear()
        return looked

    yield opened
    for page in pages:
        page.close()


def _of(reports: Path, person: str) -> Path:
    return reports / "people" / safe_name(person) / "index.html"


def _each(reports: Path) -> list[Path]:
    long = "W" * 5000
    people = ["Person 3", long, f"{MARKUP} ungraded", *PAYLOADS]
    return [reports / "index.html", *(_of(reports, person) for person in people)]


def test_no_page_is_wider_than_the_window(look: Any, reports: Path) -> None:
    for path in _each(reports):
        page = look(path).page
        width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width <= window, path
        cut = "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
        assert page.evaluate(f"{cut}.filter((e) => !e.closest('thead')).map((e) => e.outerHTML.slice(0, 200))") == []


def test_every_picture_is_described_to_who_cannot_see_it(look: Any, reports: Path) -> None:
    for path in _each(reports)[:2]:
        looked = look(path)
        images = looked.images()
        shown = looked.page.evaluate("document.querySelectorAll('svg:not([aria-hidden=true]), img').length")
        assert len(images) == shown > 0
        assert [i for i in images if len(i.get("name", {}).get("value", "")) < 8] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(look: Any, reports: Path, scheme: str) -> None:
    for path in _each(reports)[:3]:
        assert look(path, scheme).page.evaluate(FAINT, AA) == []


def test_payloads_are_text_and_nothing_happens(look: Any, reports: Path) -> None:
    for path in _each(reports):
        looked = look(path)
        assert looked.page.evaluate("document.querySelectorAll('img, script, iframe, object, link, base').length") == 0
        assert looked.page.evaluate("document.querySelectorAll('style').length") == 1
        assert looked.happened == []
    for payload in (MARKUP, FORMULA):  # a name in the list is cut, so that the longest one does not fit
        assert payload in look(reports / "index.html").text()
    for payload in PAYLOADS:
        text = look(_of(reports, payload)).text()
        assert text.count(payload) >= 5, "the name, the message, what was printed, a figure, the file left out"
    assert CLOSING in look(_of(reports, CLOSING)).text()


def test_the_class_page_leads_to_everybody_and_back(look: Any, reports: Path) -> None:
    looked = look(reports / "index.html")
    targets = set(looked.page.evaluate("[...document.querySelectorAll('#people a')].map((a) => a.href)"))
    assert targets == {path.as_uri() for path in (reports / "people").glob("*/index.html")}
    looked.page.click("#people a >> nth=0")
    looked.page.click("text=Class report")
    assert looked.page.url == (reports / "index.html").as_uri()
