"""`trtprep python FILE` and `trtprep shell`: a user's own program, as Python itself would run it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from small_course import Done, says_in_one_line, trtprep

PLAY = {
    "arguments.py": "import sys\nprint(sys.argv, __name__)\n",
    "status.py": "import sys\nsys.exit(7)\n",
    "killed.py": "import os\nos.kill(os.getpid(), 9)\n",
    "raises.py": "def inner():\n    raise KeyError('mine')\n\n\ninner()\n",
    "syntax.py": "x = 1\ny = (\n",
    "helped.py": "import helper\nprint(helper.WORD)\n",
    "helper.py": "WORD = 'helped'\n",
    "waits_not.py": """\
import numpy as np
import pycuda.autoinit
import pycuda.driver as cuda

host, stream = cuda.pagelocked_zeros(4, np.float32), cuda.Stream()
kept = cuda.mem_alloc(16)
cuda.memcpy_htod_async(kept, host, stream)
print("done")
""",
    "builds.py": """\
import sys
import tensorrt as trt

logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
given = network.add_input("given", trt.DataType.FLOAT, (4,))
network.mark_output(network.add_unary(given, trt.UnaryOperation.NEG).get_output(0))
open(sys.argv[1], "wb").write(builder.build_serialized_network(network, builder.create_builder_config()))
""",
    "loads.py": """\
import sys
import tensorrt as trt

engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(open(sys.argv[1], "rb").read())
print(engine.num_io_tensors, engine.get_tensor_name(0))
""",
}


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("play")
    for name, text in PLAY.items():
        (folder / name).write_text(text)
    return folder


def _python(play: Path, name: str, *words: str) -> Done:
    return trtprep("python", "--tier", "twin", str(play / name), *words)


def test_what_follows_a_file_is_the_files_even_where_it_looks_like_an_option(play: Path) -> None:
    words = ["-n", "3", "--tier", "none", "--help", "x y"]

    done = _python(play, "arguments.py", *words)

    assert (done.status, done.err) == (0, "")
    assert done.out == f"{[str(play / 'arguments.py'), *words]} __main__\n"


@pytest.mark.parametrize(("name", "status"), [("status.py", 7), ("killed.py", 128 + 9), ("raises.py", 1)])
def test_a_files_own_end_is_the_status(play: Path, name: str, status: int) -> None:
    assert _python(play, name).status == status


def test_an_exception_shows_the_users_own_traceback_and_nothing_of_ours(play: Path) -> None:
    done = _python(play, "raises.py")

    lines = done.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line for line in lines if line.startswith("  File")] == [
        f'  File "{play / "raises.py"}", line 5, in <module>',
        f'  File "{play / "raises.py"}", line 2, in inner',
    ]
    assert lines[-1] == "KeyError: 'mine'"


def test_a_syntax_error_names_the_users_line_and_nothing_of_ours(play: Path) -> None:
    done = _python(play, "syntax.py")

    assert done.status == 1
    assert f'File "{play / "syntax.py"}", line 2' in done.err
    assert "start_python" not in done.err
    assert "runpy" not in done.err


def test_modules_beside_a_file_can_be_imported(play: Path) -> None:
    assert _python(play, "helped.py").out == "helped\n"


def test_what_the_twin_found_is_printed_at_the_end_with_file_and_line(play: Path) -> None:
    done = _python(play, "waits_not.py")

    assert (done.status, done.out) == (0, "done\n")
    says_in_one_line(done, "trtprep: waits_not.py:7: ", "memcpy_htod_async", status=0)


def test_a_plan_saved_by_one_process_loads_in_the_next(play: Path, tmp_path: Path) -> None:
    built, loaded = (_python(play, name, str(tmp_path / "plan")) for name in ("builds.py", "loads.py"))

    assert (built.status, built.err) == (0, "")
    assert (loaded.status, loaded.out, loaded.err) == (0, "2 given\n", "")


def test_a_file_that_is_not_there_is_told_in_one_line(play: Path) -> None:
    says_in_one_line(_python(play, "nothing.py"), f"there is no file {play / 'nothing.py'}")
    says_in_one_line(_python(play, ""), f"there is no file {play}")


def test_a_shell_reads_lines_and_has_trt_and_cuda() -> None:
    done = trtprep("shell", "--tier", "twin", stdin="print(6 * 7, trt.Builder.__name__, cuda.mem_alloc.__name__)\n")

    assert done.status == 0
    assert "42 Builder mem_alloc" in done.out
    assert "(tier twin)" in done.err
    assert "Traceback" not in done.err
