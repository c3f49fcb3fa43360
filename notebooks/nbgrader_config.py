"""The course's settings; nbgrader reads them where it is started, in this folder."""

from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    IgnorePattern,
    LimitOutput,
    OverwriteCells,
    OverwriteKernelspec,
)

from grader.notebooks.autograde import DropCopies, GradeOutside, SaveMarks

c = get_config()  # noqa: F821 (nbgrader's)

c.CourseDirectory.course_id = "trtprep"
# What nbgrader puts in the place of a solution is what a stub says.
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("write me")'}
# In the place of nbgrader's DeduplicateIds, which leaves notebooks that nbgrader cannot read.
c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    DropCopies,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]
# In the place of nbgrader's Execute and SaveAutoGrades: no submission is run in a kernel, and marks are those of
# `trtprep run`.
c.Autograde.autograde_preprocessors = [
    GradeOutside,
    IgnorePattern,
    LimitOutput,
    SaveMarks,
    AssignLatePenalties,
    CheckCellMetadata,
]
# `nbgrader validate` runs notebooks in a kernel: an engine may take a while to build on a small machine.
c.Execute.timeout = 600
