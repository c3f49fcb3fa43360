"""What is taken of a submission, and what is not, whatever somebody has put there."""

from __future__ import annotations

import json
import os
import stat
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from grader.batch import submissions, trees
from grader.batch.submissions import Answers, SubmissionError, find, read, write
from grader.course import exercises
from tests.batch.handed_in import C1, Q1, folder_of, paths, refusal, taken, zip_of

SECRET = b"a secret of whoever grades"


LAYOUTS = {
    "plain": {f"{C1.id}/stub.py": b"1", f"{Q1.id}/stub.py": b"2"},
    "in a folder": {f"hw/{C1.id}/stub.py": b"1", f"hw/{Q1.id}/stub.py": b"2"},
    "in three folders": {f"a/b/c/{C1.id}/stub.py": b"1", f"a/b/c/{Q1.id}/stub.py": b"2"},
    "a checkout": {
        f"exercises/{C1.id}/stub.py": b"1", f"exercises/{Q1.id}/stub.py": b"2", f"solutions/{C1.id}/solution.py": b"3",
        "README.md": b"4",
    },
    "a checkout in a folder": {
        f"trtprep-main/exercises/{C1.id}/stub.py": b"1", f"trtprep-main/exercises/{Q1.id}/stub.py": b"2",
        f"trtprep-main/solutions/{C1.id}/solution.py": b"3", "trtprep-main/README.md": b"4",
    },
    "beside what systems leave": {
        f"hw/{C1.id}/stub.py": b"1", f"hw/{Q1.id}/stub.py": b"2", f"__MACOSX/hw/{C1.id}/._stub.py": b"5",
        ".DS_Store": b"6", f"hw/{C1.id}/__pycache__/stub.cpython-311.pyc": b"7",
        f"hw/{C1.id}/.ipynb_checkpoints/stub.py": b"8",
    },
}  # fmt: skip


@pytest.mark.parametrize("make", [folder_of, zip_of])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_are_found_in_folders_and_zip_files(layout: str, make: object, tmp_path: Path) -> None:
    answers = taken(make(tmp_path, LAYOUTS[layout]))  # type: ignore[operator]
    assert answers.files == {(C1.id, "stub.py"): b"1", (Q1.id, "stub.py"): b"2"}
    assert answers.exercises == {C1.id, Q1.id}
    assert answers.left_out == ()


def test_a_zip_file_of_windows_and_its_folders_are_the_same_submission(tmp_path: Path) -> None:
    windows = zip_of(tmp_path, {f"hw\\{C1.id}\\stub.py": b"1", f"hw\\{Q1.id}\\stub.py": b"2"})
    with zipfile.ZipFile(zip_of(tmp_path, {}, "with.zip"), "a") as archive:
        for name in ("hw/", f"hw/{C1.id}/", f"hw/{Q1.id}/"):
            archive.writestr(name, b"")
        archive.writestr(f"hw/{C1.id}/stub.py", b"1")
        archive.writestr(f"hw/{Q1.id}/stub.py", b"2")
    digests = {taken(path).digest for path in (windows, tmp_path / "with.zip", folder_of(tmp_path, LAYOUTS["plain"]))}
    assert len(digests) == 1


def test_a_digest_tells_contents_and_names() -> None:
    """Nor can bytes be moved from a name into a file without changing it."""
    files = [
        {("a", "b"): b"c"}, {("a", "c"): b"b"}, {("a", "b"): b"d"}, {("a", "b"): b"c", ("a", "c"): b""},
        {("a", "bc"): b""}, {("a", "b", "c"): b""}, {},
    ]  # fmt: skip
    assert len({Answers(dict(each)).digest for each in files}) == len(files)


def test_the_only_exercise_needs_no_folder_of_its_own(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"stub.py": b"1", "helper.py": b"2"})
    assert paths(taken(folder, C1)) == {f"{C1.id}/stub.py", f"{C1.id}/helper.py"}
    assert taken(folder, C1, Q1).files == {}


def test_everybody_is_found(tmp_path: Path) -> None:
    for name in ("bob", "Carl", "nb/alice", ".git"):
        folder_of(tmp_path, {f"{C1.id}/stub.py": b"1"}, f"class/{name}")
    for name in ("dora.zip", "eve.ZIP", "bob.zip", ".zip"):
        zip_of(tmp_path, {f"{C1.id}/stub.py": b"1"}, f"class/{name}")
    (tmp_path / "class" / "roster.csv").write_text("bob")
    (tmp_path / "class" / "frank.tar.gz").write_text("bob")
    os.symlink("bob", tmp_path / "class" / "gina")
    os.mkdir(os.fsencode(tmp_path / "class") + b"/h\xe9l\xe8ne")

    found, passed_over = find(tmp_path / "class")

    assert [(s.person, s.path.name) for s in found if s.person[0] != "h"] == [
        ("Carl", "Carl"), ("bob", "bob"), ("bob.zip", "bob.zip"), ("dora", "dora.zip"), ("eve", "eve.ZIP"),
        ("gina", "gina"), ("nb", "nb"),
    ]  # fmt: skip
    assert [s.person.encode() for s in found if s.person[0] == "h"] == [rb"h\xe9l\xe8ne"]
    assert passed_over == ["frank.tar.gz", "roster.csv"]


def test_what_is_no_folder_of_submissions_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(SubmissionError, match=path.name):
            find(path)


def test_a_copy_is_private_and_complete(tmp_path: Path) -> None:
    answers = taken(folder_of(tmp_path, {f"{C1.id}/stub.py": b"1", f"{C1.id}/lib/a.py": b"2"}))
    write(answers, tmp_path / "copies" / "alice")
    copied = {p.relative_to(tmp_path / "copies/alice"): p.read_bytes() for p in (tmp_path / "copies").rglob("*.py")}
    assert copied == {Path(C1.id, "stub.py"): b"1", Path(C1.id, "lib/a.py"): b"2"}
    assert stat.S_IMODE((tmp_path / "copies" / "alice").stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        write(answers, tmp_path / "copies" / "alice")


# -- links and other things that are not files


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret" / "stub.py"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


def test_a_link_for_an_answer_is_not_followed(tmp_path: Path, secret: Path) -> None:
    folder = folder_of(tmp_path, {f"{C1.id}/x.py": b""})
    os.symlink(secret, folder / C1.id / "stub.py")
    assert "link" in refusal(folder)


def test_a_hard_link_for_an_answer_is_not_read(tmp_path: Path, secret: Path) -> None:
    folder = folder_of(tmp_path, {f"{C1.id}/x.py": b""})
    os.link(secret, folder / C1.id / "stub.py")
    assert "hard link" in refusal(folder)


def test_a_zip_file_with_two_names_is_not_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path, LAYOUTS["plain"])
    os.link(path, tmp_path / "other.zip")
    assert "hard link" in refusal(path)


@pytest.mark.parametrize("where", [C1.id, "."])
def test_a_link_for_a_folder_is_not_followed(where: str, tmp_path: Path, secret: Path) -> None:
    person = tmp_path / "class" / "alice"
    person.parent.mkdir()
    if where == ".":
        (secret.parent / C1.id).mkdir()
        os.rename(secret, secret.parent / C1.id / "stub.py")
        os.symlink(secret.parent, person)
    else:
        person.mkdir()
        os.symlink(secret.parent, person / where)
    assert "link" in refusal(person)


def test_one_bad_answer_leaves_the_others(tmp_path: Path, secret: Path) -> None:
    folder = folder_of(tmp_path, {f"{Q1.id}/stub.py": b"2", f"{C1.id}/x.py": b""})
    os.symlink(secret, folder / C1.id / "stub.py")
    answers = taken(folder)
    assert answers.files == {(Q1.id, "stub.py"): b"2"}
    assert list(answers.refused) == [C1.id] and "link" in answers.refused[C1.id]


def test_what_lies_beside_an_answer_is_left_out_where_it_is_no_file(tmp_path: Path, secret: Path) -> None:
    folder = folder_of(tmp_path, {f"{C1.id}/stub.py": b"1", f"{C1.id}/helper.py": b"2"})
    here = folder / C1.id
    os.symlink(secret, here / "link.py")
    os.symlink(secret.parent, here / "linked")
    os.symlink("stub.py", here / "inner.py")
    os.link(secret, here / "hard.py")
    os.mkfifo(here / "pipe.py")
    os.symlink("/dev/zero", here / "zero.py")
    began = time.monotonic()
    answers = taken(folder)
    assert time.monotonic() - began < 5
    assert paths(answers) == {f"{C1.id}/stub.py", f"{C1.id}/helper.py"}
    assert SECRET not in answers.files.values()
    told = {line.split(": ")[0].split("/")[-1] for line in answers.left_out}
    assert told == {"link.py", "linked", "inner.py", "hard.py", "pipe.py", "zero.py"}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_an_answer_that_is_a_pipe_or_a_folder_is_refused_at_once(make: object, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {f"{C1.id}/x.py": b""})
    make(folder / C1.id / "stub.py")  # type: ignore[operator]
    began = time.monotonic()
    assert "stub.py: not a plain file" in refusal(folder)
    assert time.monotonic() - began < 5


def test_a_link_in_a_zip_file_is_not_made(tmp_path: Path) -> None:
    path = zip_of(tmp_path, {f"{C1.id}/stub.py": b"1"})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo(f"{C1.id}/helper.py")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    answers = taken(path)
    assert paths(answers) == {f"{C1.id}/stub.py"}
    assert "helper.py" in answers.left_out[0]


# -- names


def test_members_outside_the_folder_do_not_count(tmp_path: Path) -> None:
    bad = {
        f"../{C1.id}/stub.py": b"x", f"/{C1.id}/stub.py": b"x", f"a/../{C1.id}/stub.py": b"x",
        f"./{C1.id}/stub.py": b"x", f"{Q1.id}/../{C1.id}/stub.py": b"x", f"..\\{C1.id}\\stub.py": b"x",
        f"{Q1.id}//stub.py": b"x", "../../../../../../tmp/evil.py": b"x", f"{Q1.id}/{'n' * 300}.py": b"x",
    }  # fmt: skip
    assert taken(zip_of(tmp_path, bad)).files == {}
    answers = taken(zip_of(tmp_path, bad | LAYOUTS["plain"], "good.zip"))
    assert answers.files == {(C1.id, "stub.py"): b"1", (Q1.id, "stub.py"): b"2"}


def test_a_member_below_a_member_that_is_a_file_does_no_harm(tmp_path: Path) -> None:
    both = {f"{C1.id}/a": b"2", f"{C1.id}/a/b.py": b"3", f"{C1.id}/c/d.py": b"4", f"{C1.id}/c": b"5"}
    path = zip_of(tmp_path, {f"{C1.id}/stub.py": b"1"} | both)
    answers = taken(path)
    write(answers, tmp_path / "copy")
    assert paths(answers) == {f"{C1.id}/stub.py", f"{C1.id}/a/b.py", f"{C1.id}/c/d.py"}


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>.py", "=cmd|' /C calc'!A0.py", "a\x1b[2Jb\n.py", "n" * 250]
)
@pytest.mark.parametrize("make", [folder_of, zip_of])
def test_a_strange_name_is_a_name(name: str, make: object, tmp_path: Path) -> None:
    name = name.replace("/", "_")
    answers = taken(make(tmp_path, {f"{C1.id}/stub.py": b"1", f"{C1.id}/{name}": b"2"}))  # type: ignore[operator]
    write(answers, tmp_path / "copy")
    assert (tmp_path / "copy" / C1.id / name).read_bytes() == b"2"


def test_a_name_in_no_encoding_is_told_as_text(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {f"{C1.id}/stub.py": b"1"})
    os.mkfifo(os.fsencode(folder / C1.id) + b"/\xff.py")
    (told,) = taken(folder).left_out
    assert r"\xff.py" in told
    told.encode()


# -- sizes


@pytest.mark.parametrize("make", [folder_of, zip_of])
def test_large_files_are_left_out(make: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "MOST_FILE_BYTES", 1000)
    answers = taken(make(tmp_path, {f"{C1.id}/stub.py": b"1" * 1000, f"{C1.id}/plan": b"2" * 1001}))  # type: ignore[operator]
    assert paths(answers) == {f"{C1.id}/stub.py"}
    assert "plan: larger than 1000 bytes" in answers.left_out[0]
    assert "larger" in refusal(make(tmp_path, {f"{C1.id}/stub.py": b"1" * 1001}, "class/b"))  # type: ignore[operator]


def test_a_sparse_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {f"{C1.id}/stub.py": b"1", f"{C1.id}/data": b""})
    os.truncate(folder / C1.id / "data", 1 << 40)
    began = time.monotonic()
    assert paths(taken(folder)) == {f"{C1.id}/stub.py"}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("make", [folder_of, zip_of])
def test_many_files_and_many_bytes_are_bounded(make: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "MOST_FILES", 10)
    many = {f"{C1.id}/stub.py": b"1"} | {f"{C1.id}/lib{n // 7}/m{n}.py": b"2" for n in range(50)}
    answers = taken(make(tmp_path, many))  # type: ignore[operator]
    assert len(answers.files) == 10
    assert len(answers.left_out) == 21 and answers.left_out[-1] == "and 21 more"
    monkeypatch.setattr(submissions, "MOST_FILES", 1000)
    monkeypatch.setattr(submissions, "MOST_BYTES", 30)
    answers = taken(make(tmp_path, many, "class/b"))  # type: ignore[operator]
    assert sum(map(len, answers.files.values())) == 30


@pytest.mark.parametrize("make", [folder_of, zip_of])
def test_deep_and_wide_folders_are_bounded(make: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_ENTRIES", 30)
    monkeypatch.setattr(submissions, "MOST_FOLDERS", 20)
    files = {f"{C1.id}/stub.py": b"1", f"{C1.id}/a/b/c/d/x.py": b"2", f"{C1.id}/a/b/c/d/e/x.py": b"3"}
    files |= {f"{C1.id}/b{n}": b"4" for n in range(10)} | {f"{C1.id}/c/x{n}": b"5" for n in range(31)}
    files |= {f"{C1.id}/d/s{n}/x.py": b"6" for n in range(25)}
    answers = taken(make(tmp_path, files))  # type: ignore[operator]
    folders_left = 20 - len(("a", "a/b", "a/b/c", "a/b/c/d", "c", "d"))
    by_content = {
        content: list(answers.files.values()).count(content) for content in (b"1", b"2", b"3", b"4", b"5", b"6")
    }
    assert by_content == {b"1": 1, b"2": 1, b"3": 0, b"4": 10, b"5": 0, b"6": folders_left}
    assert any("more than 30 entries" in line for line in answers.left_out)


def test_nobody_can_read_a_folder_that_is_closed(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root reads everything")
    folder = folder_of(tmp_path, {f"{C1.id}/stub.py": b"1"})
    (folder / C1.id / "stub.py").chmod(0)
    assert "Permission denied" in refusal(folder)


# -- nbgrader's submitted/<student>/<assignment>/


def notebook(cells: Mapping[str, str]) -> bytes:
    """As nbgrader collects one: a cell by its grade_id."""
    made = [
        {"cell_type": "code", "metadata": {"nbgrader": {"grade_id": name, "solution": True}}, "source": [text]}
        for name, text in cells.items()
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


PREPROCESS = "def preprocess(photo):\n    return 'mine'\n"


def test_a_notebook_is_graded_by_the_source_that_it_holds(tmp_path: Path) -> None:
    data = notebook({"answer-preprocess": PREPROCESS})
    folder_of(tmp_path, {f"{C1.id}/{C1.id}.ipynb": data, f"{C1.id}/timestamp.txt": b"now"}, "submitted/alice")
    (submission,), passed_over = find(tmp_path / "submitted")
    assert submission.person == "alice" and passed_over == []
    answers = read(submission, exercises())
    assert list(answers.files) == [(C1.id, "stub.py")]
    source = answers.files[C1.id, "stub.py"].decode()
    compile(source, "stub.py", "exec")
    assert "return 'mine'" in source and "def build_engine(" in source  # what was not written is as in the stub


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"cells": 1}', b"[" * 200_000, b"\xff\xfe", b'{"cells": [{"source": 3}]}\0']
)
def test_what_is_no_notebook_is_refused_in_one_line(data: bytes, tmp_path: Path) -> None:
    assert C1.id in refusal(folder_of(tmp_path, {f"{C1.id}/{C1.id}.ipynb": data}))


def test_of_several_notebooks_that_of_the_exercise_counts(tmp_path: Path) -> None:
    files = {f"{C1.id}/{C1.id}.ipynb": notebook({"answer-preprocess": PREPROCESS}), f"{C1.id}/more.ipynb": b"no"}
    assert len(taken(folder_of(tmp_path, files)).files) == 1
    assert taken(folder_of(tmp_path, {f"{C1.id}/a.ipynb": b"", f"{C1.id}/b.ipynb": b""}, "class/b")).files == {}


def test_a_file_counts_before_a_notebook(tmp_path: Path) -> None:
    files = {f"{C1.id}/{C1.id}.ipynb": notebook({"answer-preprocess": PREPROCESS}), f"{C1.id}/stub.py": b"1"}
    assert taken(folder_of(tmp_path, files)).files[C1.id, "stub.py"] == b"1"
