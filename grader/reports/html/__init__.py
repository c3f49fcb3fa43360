"""HTML pages of a class: one of all, one per person. Static files that open from disk, without JavaScript.

Everything that a template prints is escaped (Jinja2's autoescape) after its control characters have become visible
escapes. A page takes nothing from anywhere: its style sheet is in it, and its Content-Security-Policy allows that only.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from grader.batch.names import safe_name
from grader.reports import PEOPLE
from grader.reports.class_results import ClassResults, Person
from grader.reports.files import write_file
from grader.reports.html.class_page import class_page
from grader.reports.html.person_page import person_page
from grader.reports.terminal import shown

PAGE = "index.html"
_TEMPLATES = Path(__file__).resolve().parent / "templates"


def write_pages(results: ClassResults, out: Path) -> list[Path]:
    """Write the class's page and one per person; returns them, the class's first. Raises ReportError."""
    pages = []
    for person in results.people:
        pages.append(out / link(person))
        write_page("person.html", pages[-1], person_page(results, person))
    write_page("class.html", out / PAGE, class_page(results))  # last: its links lead somewhere
    return [out / PAGE, *pages]


def link(person: Person) -> str:
    """A person's page, from the class's."""
    return f"{PEOPLE}/{safe_name(person.name)}/{PAGE}"


def write_page(template: str, path: Path, page: dict[str, Any]) -> None:
    """Render a template with these values. Raises ReportError."""
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    text = _environment().get_template(template).render(page | {"style": Markup(style), "policy": policy})
    write_file(path, text.encode())


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for show in (seconds, mebibytes, percent, short, cut, number):
        environment.filters[show.__name__] = show
    environment.globals |= {"link": link, "many": many}
    return environment


def _visible(value: Any) -> Any:
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def seconds(value: float) -> str:
    """``0.04 s``, ``3.2 s``, ``5 min 3 s``."""
    if value < 0.1:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {value % 60:.0f} s"


def mebibytes(value: int) -> str:
    return f"{value / 2**20:,.0f} MiB"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def number(value: Any) -> str:
    """A figure as it is read: floats with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(number, value))
    return str(value)


def many(count: int, one: str, more: str = "") -> str:
    """``1 person``, ``2 people``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def short(text: str, most: int) -> str:
    """A name where there is little room."""
    return text if len(text) <= most else f"{text[:most]}…"


def cut(text: str, most: int) -> str:
    """The beginning of a text, and how much was left out."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters left out)"
