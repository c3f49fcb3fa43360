"""A class's page and people's pages as files: what they tell, and that nobody's text becomes markup."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from classes import FORMULA, MARKUP, PAYLOADS, hostile, lifelike, one_exercise, record, write_class
from results import NASTY, result

from grader import course
from grader.batch.names import safe_name
from grader.reports import write_class_reports
from grader.reports.html.charts import even_edges, histogram, parts
from grader.score import Status, TaskResult

#: All that the templates use; anything else came from somebody's text.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav", "section", "h1", "h2", "h3",
    "p", "a", "b", "bdi", "strong", "span", "code", "pre", "div", "dl", "dt", "dd", "ul", "ol", "li", "table", "thead",
    "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary", "svg", "desc", "rect", "line", "text",
}  # fmt: skip


@dataclass
class Page(HTMLParser):
    """What a page's markup says."""

    path: Path
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self, convert_charrefs=True)
        self._in: list[str] = []
        self.feed(self.path.read_bytes().decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        (self.styles if self._in[-1:] == ["style"] else self.texts).append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def values(self, name: str) -> list[str]:
        """An attribute's values."""
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


def _pages(out: Path) -> tuple[Page, dict[str, Page]]:
    """The class's page, and people's by their folders."""
    write_class_reports(out)
    return Page(out / "index.html"), {p.parent.name: Page(p) for p in (out / "people").glob("*/index.html")}


def _all(out: Path) -> list[Page]:
    page, people = _pages(out)
    return [page, *people.values()]


# -- text stays text, and nothing is fetched


def test_nobodys_text_becomes_markup(tmp_path: Path) -> None:
    nasty = [record(NASTY, result(NASTY, NASTY)), record("x", error=NASTY)]
    for page in _all(write_class(tmp_path, [*hostile(), *nasty, *lifelike(3)])):
        assert {tag for tag, _ in page.tags} - TAGS == set(), page.path
        names = {name for _, attributes in page.tags for name in attributes}
        assert [name for name in names if name.startswith("on") or name in ("style", "src", "srcset")] == []
        assert {t for t, _ in page.tags if t in ("title", "style", "body")} == {"title", "style", "body"}


def test_payloads_are_told_as_they_are(tmp_path: Path) -> None:
    page, people = _pages(write_class(tmp_path, hostile()))

    for payload in (MARKUP, FORMULA):
        assert payload in page.text
    for payload in PAYLOADS:
        assert "<" not in payload or payload not in page.path.read_text()
        assert people[safe_name(payload)].text.count(payload) >= 5


def test_control_characters_are_shown_as_escapes(tmp_path: Path) -> None:
    for page in _all(write_class(tmp_path, [record(NASTY, result(NASTY, NASTY), source=NASTY)])):
        assert "\\x1b[2J" in page.text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800]", page.path.read_text(encoding="utf-8"))


def test_a_page_takes_nothing_from_anywhere(tmp_path: Path) -> None:
    for page in _all(write_class(tmp_path, [*hostile(), *lifelike(2)])):
        policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None
        (style,) = page.styles
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
        assert "url(" not in style
        assert "@import" not in style
        for target in page.values("href"):
            assert target.startswith("#") or (page.path.parent / target).resolve().is_file(), target


def test_every_picture_says_what_it_shows(tmp_path: Path) -> None:
    for page in _all(write_class(tmp_path, lifelike(3), tuple(e.id for e in course.exercises()))):
        pictures = [attributes for tag, attributes in page.tags if tag == "svg" and "aria-hidden" not in attributes]
        assert pictures
        for picture in pictures:
            assert picture.get("role") == "img"
            assert len(picture.get("aria-label") or "") >= 8


# -- what they tell


def test_the_class_page_tells_marks_ends_and_who_was_not_graded(tmp_path: Path) -> None:
    people = [
        record("Ada", result(), seconds=4.0),
        record("Bo", result(), seconds=2.0),
        record("Cy", error="a bad zip"),
    ]
    page, _ = _pages(write_class(tmp_path, people, protections={"mounts": True, "landlock": False}))

    assert "Submissions 3 Graded 2 Not graded 1" in page.text
    assert "Cy a bad zip" in page.text
    assert "without these protections: landlock" in page.text
    assert "2 people, median 29%, mean 29%, 0 with all points" in page.text  # 10 of 35
    assert "2 people, median 100%, mean 100%, 2 with all points" in page.text  # 4 of the 4 that were run
    labels = page.values("aria-label")
    assert labels.count("2 passed") == 2
    assert labels.count("2 failed") == labels.count("2 blocked") == 1
    assert labels.count("2 not run") == 2
    assert "People by their marks in x1: 20 to 30%: 2" in labels
    assert "Median 3.0 s; all together 8.0 s of work" in page.text
    assert re.search(r"Slowest Ada 4.0 s Bo 2.0 s", page.text)
    assert page.text.count("14 / 39") == 2


def test_the_class_page_tells_what_was_not_written(tmp_path: Path) -> None:
    task = TaskResult("a", "A", 5, Status.FAILED, "not written yet: start with a()")
    page, people = _pages(write_class(tmp_path, [record("Ada", one_exercise(task))], ("x1_one",)))
    assert "1 not written" in page.values("aria-label")
    assert "not written 0 / 5 points" in people["Ada"].text


def test_a_persons_page_tells_each_task_with_all_that_was_said(tmp_path: Path) -> None:
    _, people = _pages(
        write_class(tmp_path, [record("Ada", result("why", "printed\n  as it was"), left_out=("big.bin",))])
    )
    text = people["Ada"].text

    assert "14 / 39 points (10 of 49 points were not run)" in text
    assert "10 / 35 points" in text
    assert "4 / 4 points (10 of 14 points were not run)" in text
    assert re.search(r"✓ Passed a passed 10 / 10 points 1.2 s speed 1.5", text)
    assert re.search(r"✗ Failed b failed 0 / 20 points 0.5 s why Hint hint b What the code printed printed", text)
    assert re.search(r"Blocked c blocked 0 / 5 points 0.00 s needs b", text)
    assert re.search(r"Not run d not run 0 / 7 points 0.00 s no timings here", text)
    assert re.search(r"Inconclusive e inconclusive 0 / 3 points", text)
    assert "big.bin" in text
    assert "printed\n  as it was" in people["Ada"].path.read_text()
    assert "hint a" not in text


def test_a_page_of_who_was_not_graded_or_left_an_exercise_out_says_so(tmp_path: Path) -> None:
    only_one = one_exercise(TaskResult("a", "A", 5, Status.PASSED))
    people = [record("Ada", result()), record("Bo", only_one), record("Cy", error="a bad zip")]
    page, each = _pages(write_class(tmp_path, people))

    assert "Could not be graded a bad zip" in each["Cy"].text
    assert "No answer was handed in." in each["Bo"].text
    assert "5 / 19 points" in each["Bo"].text
    assert "not handed in" in page.text


def test_long_texts_are_cut_and_say_so(tmp_path: Path) -> None:
    _, people = _pages(write_class(tmp_path, [record("Ada", result("m" * 9000, "x" * 30_000))]))
    assert "5,000 characters left out" in people["Ada"].text
    assert people["Ada"].path.stat().st_size < 60_000


def test_a_known_mistake_is_named_on_both_pages(tmp_path: Path) -> None:
    exercise = course.find("c1")
    message = "the result of preprocess differs by 48.6 grey levels on average: the channels are in BGR order"
    task = TaskResult("preprocess", "P", 20, Status.FAILED, message)
    out = write_class(tmp_path, [record("Ada", one_exercise(task, exercise_id=exercise.id))], (exercise.id,))
    page, people = _pages(out)
    for found in (page, people["Ada"]):
        assert "BGR kept" in found.text
        assert "OpenCV decodes to BGR" in found.text


# -- the figures of charts


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([0, 9.9, 10, 100], [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
        ([90, 95, 100], [0] * 9 + [3]),
        ([-1, 101], [1, *[0] * 8, 1]),
    ],
)
def test_a_histogram_counts_every_value_once(values: list[float], counts: list[int]) -> None:
    chart = histogram(values, [10.0 * n for n in range(11)], 50, "%")

    assert [bar.count for bar in chart.bars] == counts
    highest = max(counts)
    tallest = max(bar.height for bar in chart.bars)
    assert [round(bar.height / tallest, 6) for bar in chart.bars] == [round(count / highest, 6) for count in counts]
    assert all(bar.y + bar.height == pytest.approx(chart.base) for bar in chart.bars)
    assert chart.marker == pytest.approx(160)


@pytest.mark.parametrize("values", [[], [0], [0.0004], [3.1, 7], [12, 12.5], [999.9], [1e9]])
def test_the_edges_of_a_histogram_hold_all_values_in_a_dozen_even_steps(values: list[float]) -> None:
    edges = even_edges(values)

    assert edges[0] == 0
    assert edges[-1] >= max(values, default=0)
    assert 2 <= len(edges) <= 13
    steps = [b - a for a, b in itertools.pairwise(edges)]
    assert steps == [pytest.approx(steps[0])] * len(steps)
    if max(values, default=0) > 0.001:
        assert edges[-2] < max(values)


def test_the_parts_of_a_bar_fill_it_in_their_order() -> None:
    found = parts({"passed": 3, "failed": 0, "blocked": 1})
    assert [(part.kind, part.x, part.width) for part in found] == [("passed", 0, 75), ("blocked", 75, 25)]
    assert parts({"passed": 0}) == ()
