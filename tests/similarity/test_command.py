"""`trtprep similar`: what it writes, and that nobody's text becomes more than text."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent))

from answers import C1, OTHER, SOLUTION, STUB, disguised

from grader import course, extras
from grader.batch.submissions import SubmissionError
from grader.reports.files import ReportError
from grader.reports.html import similarity_page
from grader.similarity import command
from grader.similarity.command import similar

MARKUP = "<img src=x onerror=alert(1)>"
FORMULA = "=HYPERLINK(1)"
IN_CODE = "</pre><script>alert(1)</script><style>*{display:none}</style>"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav", "section", "h1", "h2", "p",
    "a", "b", "bdi", "strong", "span", "pre", "div", "dl", "dt", "dd", "ul", "li", "details", "summary",
}  # fmt: skip


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


class Class:
    """A folder of submissions to c1, and what comparing them gave."""

    def __init__(self, folder: Path) -> None:
        self.people, self.out = folder / "class", folder / "out"
        self.people.mkdir()

    def hand_in(self, person: str, source: str | bytes, name: str = "stub.py") -> None:
        path = self.people / person / C1.id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.encode() if isinstance(source, str) else source)

    def compare(self, least: float = 0.5) -> str:
        """Returns what the terminal shows."""
        text = io.StringIO()
        similar(self.people, self.out, names=["c1"], least=least, console=Console(file=text, width=200))
        return text.getvalue()

    def rows(self) -> list[dict[str, str]]:
        with (self.out / "similarity.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def pairs(self) -> set[tuple[str, str, str]]:
        return {(row["student_id"], row["other"], row["other_kind"]) for row in self.rows()}

    def page(self) -> Page:
        return Page(self.out / "similarity.html")


@pytest.fixture
def people(tmp_path: Path) -> Class:
    return Class(tmp_path)


def test_who_is_like_whom_and_who_is_like_the_solution(people: Class) -> None:
    people.hand_in("ada", STUB + OTHER)
    people.hand_in("ben", OTHER.replace("widths", "sizes"))
    people.hand_in("cleo", disguised(SOLUTION))
    people.hand_in("dan", STUB)
    people.hand_in("eve", STUB)
    told = people.compare()
    assert people.pairs() == {
        ("ada", "ben", "submission"),
        ("cleo", command.SOLUTION, "solution"),
    }
    assert "5 answers compared" in told
    assert "1 pair of submissions, 1 submission with the published solution" in told
    assert "never a mark" in told
    text = people.page().text
    assert "never a mark" in text
    assert "def spiral(rows, columns):" in text  # the lines themselves
    (row,) = (row for row in people.rows() if row["student_id"] == "ada")
    assert float(row["alike"]) > 0.8
    assert row["lines"].startswith("stub.py ")


def test_zip_files_are_read_too(people: Class) -> None:
    people.hand_in("ada", OTHER)
    with zipfile.ZipFile(people.people / "ben.zip", "w") as archive:
        archive.writestr(f"{C1.id}/stub.py", OTHER)
    people.compare()
    assert people.pairs() == {("ada", "ben", "submission")}


def test_names_and_code_are_shown_as_text(people: Class) -> None:
    code = OTHER.replace("def spiral", f"MARK = {IN_CODE!r}\n\n\ndef spiral") + "\n# \u202e\x1b]0;title\x07\n"
    people.hand_in(MARKUP, code)
    people.hand_in(FORMULA, code)
    people.hand_in("@SUM(1)", code, name=f"{MARKUP}.py")
    people.hand_in("@SUM(1)", STUB)
    told = people.compare()
    page = people.page()
    assert page.tags <= TAGS
    assert MARKUP in page.text and IN_CODE in page.text
    assert "\x1b" not in told + page.text
    assert {row["student_id"] for row in people.rows()} | {row["other"] for row in people.rows()} == {
        MARKUP, f"'{FORMULA}", "'@SUM(1)",
    }  # fmt: skip
    assert MARKUP in "".join(row["lines"] + row["other_lines"] for row in people.rows())


def test_hostile_files_are_named_and_the_others_compared(people: Class, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    people.hand_in("ada", OTHER)
    people.hand_in("ben", OTHER + f"\nopen({str(ran)!r}, 'w')\n")
    people.hand_in("cleo", b"(" * 1_000_000)
    people.hand_in("dan", b"\xff\xfe\xfa")
    people.hand_in("eve", b"(a" * 100_000)
    people.hand_in("fay", b"[" * 9_000 + b"x" * 100_000)
    (people.people / "gus.zip").write_bytes(b"no zip file")
    (people.people / "[red]notes\x1b[2J.txt").write_text("")
    lines = people.compare().splitlines()
    told = [line for line in lines if line.startswith("not compared: ")]
    assert told == [
        "not compared: [red]notes\\x1b[2J.txt: neither a folder nor a zip file",
        f"not compared: cleo: {C1.id}/stub.py: larger than 256 KiB",
        f"not compared: dan: {C1.id}/stub.py: not UTF-8 text",
        f"not compared: eve: {C1.id}/stub.py: more than 20,000 tokens",
        "not compared: gus: gus.zip: a damaged zip file (File is not a zip file)",
    ]
    assert people.pairs() == {("ada", "ben", "submission")}
    assert "cleo" in people.page().text
    assert not ran.exists()


def test_a_link_is_not_followed(people: Class, tmp_path: Path) -> None:
    people.hand_in("ada", OTHER)
    (tmp_path / "secret.py").write_text(OTHER)
    (people.people / "ben" / C1.id).mkdir(parents=True)
    (people.people / "ben" / C1.id / "stub.py").symlink_to(tmp_path / "secret.py")
    assert "not compared: ben" in people.compare()
    assert people.rows() == []


def test_pages_stay_small_and_the_table_has_all(people: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity_page, "MOST_PAIRS", 2)
    for person in "abcd":
        people.hand_in(person, OTHER)
    people.compare()
    assert len(people.rows()) == 6
    assert "The 2 most alike of 6 pairs" in people.page().text
    assert people.page().text.count("tokens alike") == 2


def test_in_a_batchs_folder_the_page_leads_to_the_classs(people: Class) -> None:
    people.hand_in("ada", OTHER)
    people.compare()
    assert "index.html" not in people.page().links
    (people.out / "index.html").write_text("")
    people.compare()
    assert "index.html" in people.page().links


def test_what_cannot_be_done_is_said_in_one_line(people: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SubmissionError, match="has no submission"):
        people.compare()
    people.hand_in("ada", b"\xff")
    with pytest.raises(SubmissionError, match=r"can be compared .*not UTF-8 text"):
        people.compare()
    people.out = people.people
    with pytest.raises(SubmissionError, match="would lie among the submissions"):
        people.compare()
    monkeypatch.setattr(extras, "missing", lambda names: tuple(names))
    with pytest.raises(ReportError, match=r"needs copydetect: pip install -e '\.\[similarity\]'"):
        people.compare()


def test_from_the_command_line(people: Class) -> None:
    for person in ("ada", "ben"):
        people.hand_in(person, OTHER)
    words = ["similar", str(people.people), "--out", str(people.out), "--least", "0.9"]
    env = {**os.environ, "PYTHONPATH": str(course.ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "grader", *words], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert people.pairs() == {("ada", "ben", "submission")}
    done = subprocess.run(
        [sys.executable, "-m", "grader", *words[:3], str(people.people)], env=env, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
