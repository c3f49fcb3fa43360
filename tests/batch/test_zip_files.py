"""Zip bombs and damaged zip files."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from pathlib import Path

import pytest

from grader.batch import trees
from grader.batch.submissions import SubmissionError
from tests.batch.handed_in import C1, paths, refusal, taken, zip_of


def test_a_bomb_that_tells_its_size_is_not_inflated(tmp_path: Path) -> None:
    path = zip_of(tmp_path, {f"{C1.id}/stub.py": b"1", f"{C1.id}/zeros": bytes(300 << 20)})
    began = time.monotonic()
    answers = taken(path)
    assert time.monotonic() - began < 2
    assert paths(answers) == {f"{C1.id}/stub.py"}
    assert "zeros: larger than 1 MiB" in answers.left_out[0]


def declared(path: Path, member: str, size: int) -> None:
    """Let a zip file tell another size of a member than it has."""
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", (22, 30)), (b"PK\x01\x02", (24, 46))):
        place = data.find(mark)
        while data[place + at[1] : place + at[1] + len(member)] != member.encode():
            place = data.find(mark, place + 1)
        data[place + at[0] : place + at[0] + 4] = struct.pack("<I", size)
    path.write_bytes(data)


def test_a_bomb_that_hides_its_size_is_stopped(tmp_path: Path) -> None:
    path = zip_of(tmp_path, {f"{C1.id}/stub.py": b"1", f"{C1.id}/zeros": bytes(300 << 20)})
    declared(path, f"{C1.id}/zeros", 100)
    began = time.monotonic()
    answers = taken(path)
    assert time.monotonic() - began < 2
    assert paths(answers) == {f"{C1.id}/stub.py"}
    assert "zeros" in answers.left_out[0]


def test_a_zip_file_of_very_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_MEMBERS", 50)
    assert "more than 50 members" in refusal(zip_of(tmp_path, {f"m{n}": b"" for n in range(51)}))


def test_a_long_list_of_members_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_of(tmp_path, {"n" * 200 + str(n): b"" for n in range(300)})
    made = 0

    class Counted(zipfile.ZipInfo):
        def __init__(self, *args: object, **kwargs: object) -> None:
            nonlocal made
            made += 1
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(zipfile, "ZipInfo", Counted)
    monkeypatch.setattr(trees, "MOST_DIRECTORY_BYTES", 70_000)
    assert "list of members" in refusal(path)
    assert made == 0


def test_an_encrypted_zip_file_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path, {f"{C1.id}/stub.py": b"1"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted: hand in a zip file without a password" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(method: int, tmp_path: Path) -> None:
    path = tmp_path / "alice.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{C1.id}/stub.py", b"1" * 100)
    assert "compressed in a way" in refusal(path)


def test_whatever_is_wrong_with_a_zip_file_is_one_line(tmp_path: Path) -> None:
    """Every byte of a zip file in turn: what comes is the answer, or one line, and never another error."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{C1.id}/stub.py", b"print()" * 20)
    good, path = memory.getvalue(), tmp_path / "alice.zip"
    told: list[str] = []
    for at in range(len(good)):
        for value in (0x00, 0xFF, good[at] ^ 0x10):
            path.write_bytes(good[:at] + bytes([value]) + good[at + 1 :])
            try:
                answers = taken(path)
            except SubmissionError as error:
                told.append(str(error))
            else:
                assert set(answers.files.values()) <= {b"print()" * 20}
    for length in range(len(good)):
        path.write_bytes(good[:length])
        assert refusal(path)
    assert len(told) > 100
    assert not [error for error in told if "\n" in error]
