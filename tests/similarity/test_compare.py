"""Which answers count as alike, and where."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from answers import C1, OTHER, SOLUTION, STUB, answers, disguised, pair_of

from grader.similarity.compare import Pair, Stub, answer, pairs, sorted_pairs
from grader.similarity.reader import Reader
from grader.similarity.tokens import tokens


def found(one: str, other: str) -> Pair:
    pair = pair_of(one, other)
    assert pair is not None
    return pair


def test_a_copy_with_other_names_in_another_order_without_comments_is_found() -> None:
    copy = disguised(SOLUTION)
    assert copy.count("quite_other_") > 200  # the disguise is one
    assert min(found(SOLUTION, copy).shares) > 0.85


def test_two_who_only_have_the_stub_are_not_alike() -> None:
    assert pair_of(STUB, STUB) is None


def test_nor_are_two_who_only_have_it_laid_out_otherwise() -> None:
    assert pair_of(ast.unparse(ast.parse(STUB)), ast.unparse(ast.parse(STUB))) is None


def test_two_who_wrote_other_code_below_the_same_stub_are_hardly_alike() -> None:
    assert pair_of(STUB + OTHER, SOLUTION, least=0.2) is None


def test_a_share_is_of_ones_own_code() -> None:
    """Who hides a copy in code of their own is found by the other's share."""
    shares = found(SOLUTION, SOLUTION + OTHER).shares
    assert shares[0] == 1
    assert 0.5 < shares[1] < 0.9


def test_a_pair_is_told_from_the_given_share_on() -> None:
    alike = found(OTHER, SOLUTION + OTHER).alike
    assert alike == 1
    half = OTHER[: OTHER.index("def spiral")]
    share = found(SOLUTION + half, OTHER).alike
    assert 0.2 < share < 1
    assert pair_of(SOLUTION + half, OTHER, least=share) is not None
    assert pair_of(SOLUTION + half, OTHER, least=share + 0.01) is None


def test_a_few_lines_that_are_the_same_are_no_pair() -> None:
    few = "".join(f"    a{n} = b.c(d, e[{n}])\n" for n in range(3))
    assert pair_of(f"def f(b, d, e):\n{few}", f"def f(b, d, e):\n{few}") is None


def test_what_follows_a_dot_is_not_just_any_name() -> None:
    """Calls of different methods are different code: else any two programs of short calls would be alike."""
    one = "".join(f"    v = network.first_{n}(v, w)\n" for n in range(30))
    other = one.replace("first_", "second_")
    assert found(f"def f(v, w, network):\n{one}", f"def f(v, w, network):\n{one}").alike == 1
    assert pair_of(f"def f(v, w, network):\n{one}", f"def f(v, w, network):\n{other}") is None


def test_passages_show_the_same_code_side_by_side_though_functions_moved() -> None:
    first, second = OTHER[: OTHER.index("def spiral")], OTHER[OTHER.index("def spiral") :]
    pair = found(OTHER, f"# moved\n{second}\n\n{first}")
    shown = []
    for ours, theirs in pair.passages:
        texts = ["\n".join(a.files[s.file][1][n - 1] for s in spans for n in range(s.first, s.last + 1))
                 for a, spans in ((pair.one, ours), (pair.other, theirs))]  # fmt: skip
        shown.append(texts)
    assert any("class Shelf" in one and "class Shelf" in other for one, other in shown)
    assert any("def spiral" in one and "def spiral" in other for one, other in shown)
    assert not any(("def spiral" in one) != ("def spiral" in other) for one, other in shown)


@pytest.mark.parametrize("change", [str, lambda s: s.replace("\n", "\r\n"), lambda s: "\ufeff" + s])
def test_lines_are_those_of_the_file(change) -> None:  # type: ignore[no-untyped-def]
    pair = found(change(f"\n\n\f\n{OTHER}"), OTHER)
    first = OTHER.split("\n").index("import numpy as np") + 1  # the stub has this line too
    starts = [spans[0].first for spans in pair.lines]
    assert starts[0] == starts[1] + 3
    assert starts[1] > first
    assert OTHER.split("\n")[starts[1] - 1].startswith("class Shelf")


def test_a_string_with_lines_in_it_does_not_move_what_follows() -> None:
    _, lines = tokens('a = f"""x\n{b}\n"""\nc = 1\n')
    assert lines[-3:] == [4, 4, 4]


def test_an_answers_own_modules_count_and_are_named() -> None:
    with Reader() as reader:
        read = {name: reader.read(text.encode()) for name, text in (("stub", STUB), ("own", OTHER))}
    stub = Stub(read["stub"])
    split = answer(C1.id, "split", [("stub.py", read["stub"]), ("own/helper.py", read["own"])], stub)
    (whole,) = answers(whole=OTHER)
    (pair,) = pairs([split, whole], 0.5)
    assert pair is not None
    assert pair.alike == 1
    assert {split.files[span.file][0] for span in pair.lines[0]} == {"own/helper.py"}


def test_the_most_alike_come_first() -> None:
    half = SOLUTION[: len(SOLUTION) // 2]
    everybody = answers(a=SOLUTION, b=half + OTHER, c=disguised(SOLUTION), d=SOLUTION)
    order = sorted_pairs(pair for pair in pairs(everybody, 0.3) if pair)
    assert [order[0].one.person, order[0].other.person] == ["a", "d"]
    assert [pair.alike for pair in order] == sorted((pair.alike for pair in order), reverse=True)
