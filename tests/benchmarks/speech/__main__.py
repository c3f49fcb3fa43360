"""Audio seconds per second of the two speech models: TensorRT FP16 next to PyTorch, eager and compiled.

Two processes take turns on one GPU: this one has TensorRT, and a second one, under a Python with PyTorch and Triton,
has the same weights in PyTorch (`pytorch_models`). All keep their tensors on the GPU, choose tokens there, and tell the
host each token before the next step. Every contender decodes the same number of steps. Two runs are needed:

    python -m tests.benchmarks.speech references FILE     where ONNX Runtime and the float32 models are
    python -m tests.benchmarks.speech measure FILE --plans DIR --json OUT     on the GPU

Plans are kept in DIR, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from tests.benchmarks.speech.inputs import References, write_references


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("references", "measure", "serve"))
    parser.add_argument("references", type=Path, help="the file of references")
    parser.add_argument("--plans", type=Path, default=Path("plans"), help="folder to keep plans in")
    parser.add_argument("--json", type=Path, default=Path("bench_speech.json"), help="results, written as they come")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds after which nothing new is begun")
    parser.add_argument("--level", type=int, help="Whisper's builder_optimization_level")
    parser.add_argument("--ctc-level", type=int)
    parser.add_argument(
        "--tensorrt",
        default="plain,graph",
        help="plain: one engine for all lengths; graph: engines of fixed shapes, as CUDA graphs",
    )
    parser.add_argument("--parts", default="whisper1,ctc1,whisper16,ctc16")
    parser.add_argument(
        "--ways", default="eager,compile", help="PyTorch's: eager, compile, compile-default, compile-graph"
    )
    parser.add_argument("--repeat", type=int, default=40, help="most rounds")
    parser.add_argument("--seconds", type=float, default=20, help="of rounds, for each comparison")
    parser.add_argument("--torch-python", default=shutil.which("python3"), help="one with PyTorch and Triton")
    options = parser.parse_args()
    if options.command == "references":
        write_references(options.references)
    elif options.command == "serve":  # in a Python that may lack TensorRT
        from tests.benchmarks.speech.pytorch_side import serve

        serve(References(options.references))
    else:
        from tests.benchmarks.speech.compare import Bench

        Bench(options).run()


if __name__ == "__main__":
    main()
