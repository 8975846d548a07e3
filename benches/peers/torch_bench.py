"""PyTorch's norms on the CPU, for the table of peers: one JSON request a line on standard input, one answer each.

{"prepare": {...}}  a norm and the files (raw float32) of its arrays
{"result": FILE}    one call, its result written to FILE
{"run": N}          the seconds that N calls take together
"""

import json
import platform
import sys
from math import prod
from time import perf_counter

import torch
import torch.nn.functional as F


def prepare(request):
    """The call, without arguments."""

    shape = request["shape"]
    channels = shape[-1 if request["channels_last"] else 1]

    def load(name, size):
        return torch.from_file(request[name], size=size, dtype=torch.float32).clone()

    x = load("x", prod(shape)).reshape(shape)
    weight, bias = load("weight", channels), load("bias", channels)
    running = load("running_mean", channels), load("running_var", channels)
    eps, width, norm = request["eps"], x.shape[-1:], request["norm"]
    # Channels last is, to torch, a memory format of NCHW: neither way is a copy.
    last = request["channels_last"] and x.dim() == 4

    if norm == "layer":
        return lambda: F.layer_norm(x, width, weight, bias, eps)
    if norm == "rms":
        return lambda: F.rms_norm(x, width, weight, eps)
    if norm == "batch-train":
        return lambda: F.batch_norm(x, *running, weight, bias, True, request["momentum"], eps)
    if norm == "batch-eval":
        return lambda: F.batch_norm(x, *running, weight, bias, False, request["momentum"], eps)
    if norm == "group" and last:
        groups, x = request["groups"], x.permute(0, 3, 1, 2)
        return lambda: F.group_norm(x, groups, weight, bias, eps).permute(0, 2, 3, 1).contiguous()
    if norm == "group":
        return lambda: F.group_norm(x, request["groups"], weight, bias, eps)
    if norm == "instance":
        return lambda: F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    raise ValueError(norm)


def run(call, times):
    start = perf_counter()
    for _ in range(times):
        call()
    return perf_counter() - start


@torch.inference_mode()
def serve():
    call = None
    for line in sys.stdin:
        request = json.loads(line)
        answer = {}
        if "prepare" in request:
            call = prepare(request["prepare"])
        elif "result" in request:
            y = call().flatten()
            torch.from_file(request["result"], shared=True, size=y.numel(), dtype=torch.float32).copy_(y)
        elif "run" in request:
            answer["seconds"] = run(call, request["run"])
        print(json.dumps(answer), flush=True)


about = f"{torch.__version__} on {torch.get_num_threads()} threads of the CPU, Python {platform.python_version()}"
print(json.dumps({"about": about}), flush=True)
serve()
