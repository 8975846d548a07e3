"""PyTorch's norms on a CUDA device, at the sizes that `wgpu-norm bench` times: a row each.

    python torch_cuda.py

Times are medians of CUDA events around 20 calls, over inputs in turn that fit no cache. Statistics of the forward pass are
given to the backward pass, as to ours.
"""

import torch
import torch.nn.functional as F

CALLS, ROUNDS, BYTES = 20, 30, 400_000_000


def median_ms(call, count):
    for i in range(5):
        call(i % count)
    torch.cuda.synchronize()
    times = []
    for r in range(ROUNDS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for i in range(CALLS):
            call((r * CALLS + i) % count)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / CALLS)
    return sorted(times)[ROUNDS // 2]


def inputs(shape):
    x = torch.randn(shape, device="cuda")
    return [x] + [torch.randn_like(x) for _ in range(max(1, min(24, BYTES // (x.numel() * 4)) - 1))]


def row(name, shape, call, xs):
    ms = median_ms(call, len(xs))
    to = torch.empty_like(xs[0])
    copy = median_ms(lambda i: to.copy_(xs[i]), len(xs))
    print(f"{name:20} {'x'.join(map(str, shape)):14} {1e3 * ms:9.1f} us   copy {1e3 * copy:8.1f} us", flush=True)


def vector(n, value):
    return torch.full((n,), value, device="cuda")


@torch.inference_mode()
def forward():
    for shape in [(4096, 768), (8192, 1024), (2048, 4096), (512, 16384), (65536, 64), (200000, 8), (8, 3000000), (32, 1048576)]:
        xs, w, b = inputs(shape), vector(shape[1], 1.0), vector(shape[1], 0.0)
        row("layer", shape, lambda i: F.layer_norm(xs[i], shape[1:], w, b), xs)
    for shape in [(4096, 768), (2048, 4096)]:
        xs, w = inputs(shape), vector(shape[1], 1.0)
        row("rms", shape, lambda i: F.rms_norm(xs[i], shape[1:], w, 1e-5), xs)
    shape = (8, 256, 32, 32)
    xs, w, b = inputs(shape), vector(256, 1.0), vector(256, 0.0)
    row("group", shape, lambda i: F.group_norm(xs[i], 32, w, b), xs)
    for shape in [(32, 64, 56, 56), (100352, 64)]:
        xs, w, b, m, v = inputs(shape), vector(64, 1.0), vector(64, 0.0), vector(64, 0.0), vector(64, 1.0)
        if len(shape) == 4:
            row("instance", shape, lambda i: F.instance_norm(xs[i], None, None, w, b), xs)
        row("batch, training", shape, lambda i: F.batch_norm(xs[i], m, v, w, b, True), xs)
        row("batch, eval", shape, lambda i: F.batch_norm(xs[i], m, v, w, b, False), xs)


@torch.no_grad()
def backward():
    every = [True, True, True]
    for shape in [(4096, 768), (8192, 1024), (2048, 4096), (512, 16384), (65536, 64), (8, 3000000)]:
        xs, dy, w, b = inputs(shape), torch.randn(shape, device="cuda"), vector(shape[1], 1.0), vector(shape[1], 0.0)
        saved = [torch.native_layer_norm(x, shape[1:], w, b, 1e-5)[1:] for x in xs]
        back = torch.ops.aten.native_layer_norm_backward
        row("layer, backward", shape, lambda i: back(dy, xs[i], shape[1:], *saved[i], w, b, every), xs)
    for shape in [(32, 64, 56, 56), (100352, 64)]:
        xs, dy, w, b = inputs(shape), torch.randn(shape, device="cuda"), vector(64, 1.0), vector(64, 0.0)
        m, v = vector(64, 0.0), vector(64, 1.0)
        saved = [torch.native_batch_norm(x, w, b, m, v, True, 0.1, 1e-5)[1:] for x in xs]
        back = torch.ops.aten.native_batch_norm_backward
        row("batch, backward", shape, lambda i: back(dy, xs[i], w, m, v, *saved[i], True, 1e-5, every), xs)
    shape = (8, 256, 32, 32)
    xs, dy, w, b = inputs(shape), torch.randn(shape, device="cuda"), vector(256, 1.0), vector(256, 0.0)
    saved = [torch.native_group_norm(x, w, b, 8, 256, 1024, 32, 1e-5)[1:] for x in xs]
    back = torch.ops.aten.native_group_norm_backward
    row("group, backward", shape, lambda i: back(dy, xs[i], *saved[i], w, 8, 256, 1024, 32, every), xs)


print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
forward()
backward()
