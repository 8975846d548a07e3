"""PyTorch's norms on the CPU, for the table of peers: one JSON request a line on standard input, one answer each.

{"prepare": {...}}      a norm and the files (raw float32) of its arrays; with dy, the gradients as well
{"results": [FILE...]}  one call, its results written to these files
{"run": N}              the seconds that N calls take together
"""

import json
import platform
import sys
from math import prod
from time import perf_counter

import torch
import torch.nn.functional as F


def prepare(request):
    """The call, without arguments, and whether it is one for inference mode."""

    shape = request["shape"]
    channels = shape[-1 if request["channels_last"] else 1]

    def load(name, size):
        return torch.from_file(request[name], size=size, dtype=torch.float32).clone()

    x = load("x", prod(shape)).reshape(shape)
    weight, bias = load("weight", channels), load("bias", channels)
    running = load("running_mean", channels), load("running_var", channels)
    forward = norm(request, x, weight, bias, running)
    if request["dy"] is None:
        return lambda: [forward()], True

    dy = load("dy", prod(shape)).reshape(shape)
    leaves = [x, weight, bias] if request["has_bias"] else [x, weight]
    for leaf in leaves:
        leaf.requires_grad_()
    return lambda: torch.autograd.grad(forward(), leaves, dy), False


def norm(request, x, weight, bias, running):
    """The forward pass, without arguments."""

    eps, width, name = request["eps"], x.shape[-1:], request["norm"]
    # Channels last is, to torch, a memory format of NCHW: neither way is a copy.
    last = request["channels_last"] and x.dim() == 4

    if name == "layer":
        return lambda: F.layer_norm(x, width, weight, bias, eps)
    if name == "rms":
        return lambda: F.rms_norm(x, width, weight, eps)
    if name == "batch-train":
        return lambda: F.batch_norm(x, *running, weight, bias, True, request["momentum"], eps)
    if name == "batch-eval":
        return lambda: F.batch_norm(x, *running, weight, bias, False, request["momentum"], eps)
    if name == "group" and last:
        groups = request["groups"]
        return lambda: (
            F.group_norm(x.permute(0, 3, 1, 2), groups, weight, bias, eps).permute(0, 2, 3, 1).contiguous()
        )
    if name == "group":
        return lambda: F.group_norm(x, request["groups"], weight, bias, eps)
    if name == "instance":
        return lambda: F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    raise ValueError(name)


def run(call, times):
    start = perf_counter()
    for _ in range(times):
        call()
    return perf_counter() - start


def serve():
    call, inference = None, True
    for line in sys.stdin:
        request = json.loads(line)
        answer = {}
        if "prepare" in request:
            call, inference = prepare(request["prepare"])
        with torch.inference_mode(inference):
            if "results" in request:
                for path, result in zip(request["results"], call(), strict=True):
                    flat = result.flatten()
                    torch.from_file(path, shared=True, size=flat.numel(), dtype=torch.float32).copy_(flat)
            elif "run" in request:
                answer["seconds"] = run(call, request["run"])
        print(json.dumps(answer), flush=True)


about = f"{torch.__version__} on {torch.get_num_threads()} threads of the CPU, Python {platform.python_version()}"
print(json.dumps({"about": about}), flush=True)
serve()
