"""A run's result as text for a person (terminal), and as JSON and JUnit for machines; a class's as tables and pages."""

from __future__ import annotations

from pathlib import Path

PEOPLE = "people"  #: the folder of a class's reports that has a folder per person


def write_class_reports(out: Path) -> list[Path]:
    """Everything that is read after a batch, from what it wrote to its folder; returns the files, `index.html` first.

    `grades.csv`, `junit.xml`, `index.html`, and in a folder per person Gradescope's `results.json` and `index.html`.
    Raises ReportError, or BatchError where the batch's own files cannot be read.
    """
    from grader.batch.names import safe_name
    from grader.reports.class_junit import write_class_junit
    from grader.reports.class_results import read_class
    from grader.reports.grades_csv import write_grades_csv
    from grader.reports.gradescope import write_gradescope

    results = read_class(out)
    grades, junit = out / "grades.csv", out / "junit.xml"
    write_grades_csv(results, grades)
    write_class_junit(results, junit)
    given = []
    for person in results.people:
        path = out / PEOPLE / safe_name(person.name) / "results.json"
        if write_gradescope(person, path):
            given.append(path)
    from grader.reports.html import write_pages

    return [*write_pages(results, out), grades, junit, *given]
