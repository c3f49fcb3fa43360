"""Which errors are spoken to a user as one line; every other one is a defect of ours and keeps its traceback."""

from __future__ import annotations


def spoken_errors() -> tuple[type[Exception], ...]:
    """Imported only when something has gone wrong or a command needs it: start-up stays light."""
    from grader.course import CourseError
    from grader.fixtures.cache import FixtureError
    from grader.tiers import NoTier

    spoken: tuple[type[Exception], ...] = (CourseError, FixtureError, NoTier, PermissionError)
    from grader.batch.records import BatchError
    from grader.batch.submissions import SubmissionError
    from grader.processes.sandbox import SandboxError
    from grader.reports.files import ReportError
    from grader.run import GraderError

    return (*spoken, BatchError, SubmissionError, SandboxError, ReportError, GraderError)
