"""JUnit XML of a class: a suite per person and exercise, a case per task."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from grader.reports.class_results import ClassResults
from grader.reports.files import junit_suite, write_file, xml_text


def write_class_junit(results: ClassResults, path: Path) -> None:
    """Who could not be graded is a suite with one error. Raises ReportError."""
    suites = ET.Element("testsuites", name="trtprep")
    for person in results.people:
        name = xml_text(person.name)
        for exercise in person.result.exercises if person.result else ():
            junit_suite(suites, f"{name}/{exercise.id}", exercise)
        if person.result is None:
            suite = ET.SubElement(suites, "testsuite", name=name, tests="1", failures="0", errors="1", skipped="0")
            case = ET.SubElement(suite, "testcase", classname=name, name="graded", time=f"{person.seconds:.3f}")
            ET.SubElement(case, "error", message=xml_text(person.error))
    write_file(path, ET.tostring(suites, encoding="utf-8", xml_declaration=True))
