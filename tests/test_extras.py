"""Which optional packages are there, found out without importing them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from grader import extras

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    extras._there.cache_clear()


def test_a_package_that_is_there_is_not_missing_and_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_package_of_this_test").mkdir()
    (tmp_path / "a_package_of_this_test" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "a_folder_of_this_test").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    names = ("json", "a_package_of_this_test", "a_folder_of_this_test", "no_such_package", "no_such.package")
    assert extras.missing(names) == ("a_folder_of_this_test", "no_such_package", "no_such.package")
    assert "a_package_of_this_test" not in sys.modules


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (["torch"], "pip install -e '.[frameworks]'"),
        (["keras", "tensorflow"], "pip install -e '.[frameworks]'"),
        (["soundfile"], "pip install -e '.[speech]'"),
        (["one", "other"], "pip install one other"),
    ],
)
def test_the_command_that_mends_it_is_the_extras_or_the_packages_own(names: list[str], command: str) -> None:
    assert extras.mend(names) == command


def test_every_extra_is_one_of_the_projects() -> None:
    listed = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra, names in extras.EXTRAS.items():
        assert [name for name in names if not any(line.startswith(name) for line in listed[extra])] == []
