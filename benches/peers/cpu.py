"""The library's CPU engine beside PyTorch and ONNX Runtime, by turns, as a table in Markdown.

    pip install torch onnx onnxruntime
    cargo build --release --features cli
    MALLOC_TRIM_THRESHOLD_=2000000000 MALLOC_MMAP_THRESHOLD_=2000000000 python benches/peers/cpu.py --threads 2

The two variables have PyTorch keep the memory of its results from call to call. The library and ONNX Runtime write to results that
are there already. Each case has some rounds, in which each has its turn; told is the least of all rounds, in milliseconds. Words choose
the cases whose names have one of them in it.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]


def least(call, seconds=0.1):
    """The least seconds of a call, of as many as there is time for."""
    call()
    best, end = math.inf, perf_counter() + seconds
    while perf_counter() < end:
        start = perf_counter()
        call()
        best = min(best, perf_counter() - start)
    return best


class Ours:
    """`wgpu-norm bench`, a process of its own for each turn."""

    def __init__(self, norm, shape, axis, threads, binary):
        self.command = [str(binary), "bench", "--device", "cpu", "--quick", "--norm", norm, "--shape"]
        self.command.append("x".join(map(str, shape)))
        if axis is not None:
            self.command += ["--channel-axis", str(axis)]
        self.environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}

    def turn(self, which):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "now.json")
            done = subprocess.run(
                [*self.command, "--json", str(file)], env=self.environment, capture_output=True, text=True
            )
            if done.returncode != 0:
                raise SystemExit(done.stderr)
            rows = json.loads(file.read_text())["cases"]
        rows = [row for row in rows if row["norm"].endswith(which)] if which else rows
        return {row["direction"]: (row["seconds_least"], row["copy_seconds_least"]) for row in rows}


def session(op, shape, parameters, threads, **attributes):
    """An ONNX model of one operator, bound to memory of its own."""
    names = ["x", *parameters]
    values = [onnx.numpy_helper.from_array(np.full(size, 1.1, np.float32), name) for name, size in parameters.items()]
    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attributes)], op, tensor[:1], tensor[1:], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    made = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x, y = np.random.randn(*shape).astype(np.float32), np.empty(shape, np.float32)
    bound = made.io_binding()
    bound.bind_input("x", "cpu", 0, np.float32, shape, x.ctypes.data)
    bound.bind_output("y", "cpu", 0, np.float32, shape, y.ctypes.data)
    return lambda keep=(x, y): made.run_with_iobinding(bound)


def cases(threads):
    """The name, the norm of the command, the shape, its channel axis, which of its rows, PyTorch's call and its leaves, ONNX's call."""
    shapes = [(256, 768), (4096, 768), (8192, 1024), (2048, 4096), (512, 16384), (65536, 64), (200000, 8), (8, 3000000), (4096, 767)]
    for shape in shapes:
        x, w, b = torch.randn(shape), torch.ones(shape[1]), torch.ones(shape[1])
        other = session("LayerNormalization", shape, {"w": shape[1], "b": shape[1]}, threads, axis=-1)
        yield "LayerNorm", "layer", shape, None, "", lambda: F.layer_norm(x, x.shape[1:], w, b), [x, w, b], other
    for shape in [(4096, 768), (2048, 4096)]:
        x, w = torch.randn(shape), torch.ones(shape[1])
        yield "RmsNorm", "rms", shape, None, "", lambda: F.rms_norm(x, x.shape[1:], w, 1e-5), [x, w], None
    w, b, mean, var = torch.ones(256), torch.ones(256), torch.zeros(256), torch.ones(256)
    x = torch.randn(8, 256, 32, 32)
    yield "GroupNorm(32)", "group", x.shape, 1, "", lambda: F.group_norm(x, 32, w, b), [x, w, b], None
    x = torch.randn(8, 256, 32, 32).to(memory_format=torch.channels_last)
    yield "GroupNorm(32)", "group", (8, 32, 32, 256), -1, "", lambda: F.group_norm(x, 32, w, b), [x, w, b], None
    x = torch.randn(12544, 256)
    train = lambda: F.batch_norm(x, mean, var, w, b, True)
    yield "BatchNorm train", "batch", x.shape, -1, "train", train, [x, w, b], None
    w, b, mean, var = torch.ones(64), torch.ones(64), torch.zeros(64), torch.ones(64)
    of_batch = {"w": 64, "b": 64, "m": 64, "v": 64}
    x = torch.randn(32, 64, 56, 56)
    other = session("InstanceNormalization", x.shape, {"w": 64, "b": 64}, threads)
    yield "InstanceNorm", "instance", x.shape, 1, "", lambda: F.instance_norm(x, weight=w, bias=b), [x, w, b], other
    yield "BatchNorm train", "batch", x.shape, 1, "train", lambda: F.batch_norm(x, mean, var, w, b, True), [x, w, b], None
    other = session("BatchNormalization", x.shape, of_batch, threads)
    yield "BatchNorm eval", "batch", x.shape, 1, "eval", lambda: F.batch_norm(x, mean, var, w, b, False), [x, w, b], other
    x = torch.randn(100352, 64)
    yield "BatchNorm train", "batch", x.shape, -1, "train", lambda: F.batch_norm(x, mean, var, w, b, True), [x, w, b], None
    other = session("BatchNormalization", x.shape, of_batch, threads)
    yield "BatchNorm eval", "batch", x.shape, -1, "eval", lambda: F.batch_norm(x, mean, var, w, b, False), [x, w, b], other


def kind(norm, shape):
    """The class of a case: short rows, in a cache of 16 MiB or so, or beyond."""
    if norm == "layer" and shape[-1] <= 64:
        return "short rows"
    return "in cache" if 4 * np.prod(shape) < 2**24 else "beyond cache"


def mean(ratios):
    return f"{np.exp(np.mean(np.log(ratios))):.2f}" if ratios else "–"


def inference(call):
    with torch.inference_mode():
        call()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/wgpu-norm")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"PyTorch {torch.__version__}, ONNX Runtime {ort.__version__}, {options.threads} threads\n")
    print("| class | norm | shape | | ours | memcpy | PyTorch | ONNX Runtime | PyTorch / ours | ONNX Runtime / ours | memcpy / ours |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    classes = {}
    for name, norm, shape, axis, which, call, leaves, other in cases(options.threads):
        title = f"{name} {'x'.join(map(str, shape))}"
        if options.words and not any(word.lower() in title.lower() for word in options.words):
            continue
        ours = Ours(norm, shape, axis, options.threads, options.binary)
        best = {}
        for _ in range(options.rounds):
            for direction, (seconds, copy) in ours.turn(which).items():
                best.setdefault((direction, "ours"), []).append(seconds)
                best.setdefault((direction, "copy"), []).append(copy)
            for leaf in leaves:
                leaf.requires_grad_(False)
            best.setdefault(("forward", "torch"), []).append(least(lambda: inference(call)))
            if other:
                best.setdefault(("forward", "onnx"), []).append(least(other))
            for leaf in leaves:
                leaf.requires_grad_(True)
            result = call()
            gradient = torch.randn_like(result)
            back = lambda: torch.autograd.grad(result, leaves, gradient, retain_graph=True)
            best.setdefault(("backward", "torch"), []).append(least(back))
        for direction in ("forward", "backward"):
            of = lambda who: min(best[direction, who]) if (direction, who) in best else None
            mine, copy, torchs, onnxs = map(of, ("ours", "copy", "torch", "onnx"))
            time = lambda seconds: f"{seconds * 1e3:.3g}" if seconds else "–"
            ratio = lambda seconds: f"{seconds / mine:.2f}" if seconds else "–"
            share = ratio(copy) if direction == "forward" else "–"
            found = classes.setdefault(kind(norm, shape), {"forward": [], "backward": [], "share": []})
            found[direction].append(min(filter(None, (torchs, onnxs))) / mine)
            if direction == "forward":
                found["share"].append(copy / mine)
            cells = [kind(norm, shape), name, "x".join(map(str, shape)), direction, *map(time, (mine, copy, torchs, onnxs))]
            print(f"| {' | '.join([*cells, ratio(torchs), ratio(onnxs), share])} |", flush=True)
    print("\n| class | the faster of both / ours, forward | memcpy / ours, forward | PyTorch / ours, backward |")
    print("|---|---|---|---|")
    for name, found in classes.items():
        print(f"| {name} | {mean(found['forward'])} | {mean(found['share'])} | {mean(found['backward'])} |")


main()
