"""Writes the golden files: what PyTorch computes in float64 for small inputs.

    pip install torch safetensors numpy
    python tests/golden/generate.py

writes, next to this script, every array as CASE.KEY (layer_affine.x) into cases.safetensors, and
the arguments of each case into cases.json. Any PyTorch from 2.0 on will do; the arrays here are
from 2.0.1 on a CPU, those of the gradients from 2.15.0. Versions differ in the last bit: with
--missing the arrays that are there stay as they are.

Inputs (x, weight, bias, running_mean, running_var) are float32, so that any implementation can
take them as they are; outputs (y, mean, rstd, running_mean_out, running_var_out) are float64.
PyTorch has the channels first; each `_nhwc` or `_nlc` case is a channels-first case with the axes
of x and y moved. Shapes of mean and rstd: that of x with the normalized axes as 1 (layer, rms),
(N, G) (group), (N, C) (instance), (C) (batch).

The cases in GRADIENTS also have grad_output (float32), the gradient of some loss with respect to
y, and what autograd makes of it: grad_input, grad_weight and grad_bias (float64). A weight or bias
that the case leaves out has the gradient of one that multiplies by 1 or adds 0.
"""

import argparse
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent
ARRAYS = HERE / "cases.safetensors"
INPUTS = ("x", "weight", "bias", "running_mean", "running_var", "grad_output")
LIKE_X = ("x", "y", "grad_output", "grad_input")
# Few, since each has two more arrays of the size of x.
GRADIENTS = (
    "layer_affine",
    "layer_two_dims",
    "layer_no_affine",
    "layer_odd_width",
    "layer_far_mean",
    "rms_bias",
    "rms_no_affine",
    "rms_weight_offset",
    "rms_far_mean",
    "group_nhwc",
    "group_no_affine",
    "group_nc",
    "group_far_mean",
    "instance_no_affine",
    "instance_nlc",
    "instance_far_mean",
    "instance_chw",
    "batch_nhwc",
    "batch_nc",
    "batch_no_affine",
    "batch_far_mean",
    "batch_eval_nhwc",
    "batch_eval_no_affine",
    "batch_eval_far_mean",
)
cases = []
arrays_of_cases = {}
# With --missing, the arrays that stay as they are.
kept = {}


def draws(name):
    """A generator of its own for each case: adding one leaves the others as they are."""
    # RandomState's streams are frozen across versions of numpy.
    return np.random.RandomState(zlib.crc32(name.encode()))


def f32(array):
    """Rounded to float32, as a float64 tensor."""
    return torch.from_numpy(np.asarray(array, dtype=np.float32)).double()


def write(name, norm, arrays, channel_axis=None, **params):
    shape = list(arrays["x"].shape)
    case = {"name": name, "norm": norm, "shape": shape}
    if channel_axis is not None:
        case["channel_axis"] = channel_axis
    case.update(params)
    for key, tensor in arrays.items():
        if tensor is None:
            continue
        array = np.ascontiguousarray(tensor.numpy())
        if key in INPUTS:
            assert (array == array.astype(np.float32)).all(), (name, key)
            array = array.astype(np.float32)
        if key.startswith("grad_") and name not in GRADIENTS:
            continue
        arrays_of_cases[f"{name}.{key}"] = kept.get(f"{name}.{key}", array)
    cases.append(case)


def write_channels(name, norm, arrays, last=None, **params):
    """Writes a channels-first case and, as `last`, the same with the channels last."""
    write(name, norm, arrays, channel_axis=1, **params)
    if last is not None:
        moved = {k: v.movedim(1, -1) if k in LIKE_X else v for k, v in arrays.items()}
        write(last, norm, moved, channel_axis=-1, **params)


def affine(rng, shape, weight=True, bias=True):
    w = f32(rng.normal(0.5, 1.0, shape)) if weight else None
    b = f32(rng.normal(0.0, 0.5, shape)) if bias else None
    return w, b


def gradients(name, norm, x, w, b, of_parameters):
    """Of a loss whose gradient by `norm(x, w, b)` is drawn; w and b, left out, are 1 and 0."""
    # A generator of its own: the inputs stay as they are.
    dy = f32(draws(name + ".grad_output").normal(0.0, 1.0, x.shape))
    w = torch.ones(of_parameters).double() if w is None else w
    b = torch.zeros(of_parameters).double() if b is None else b
    leaves = [tensor.clone().requires_grad_() for tensor in (x, w, b)]
    grads = torch.autograd.grad(norm(*leaves), leaves, dy)
    arrays = dict(zip(("grad_input", "grad_weight", "grad_bias"), grads))
    return {"grad_output": dy, **arrays}


def layer(name, shape, dims, eps=1e-5, mean=0.0, std=1.0, weight=True, bias=True):
    rng = draws(name)
    x = f32(rng.normal(mean, std, shape))
    normalized_shape = list(shape[len(shape) - dims :])
    w, b = affine(rng, normalized_shape, weight, bias)
    y, mean, rstd = torch.native_layer_norm(x, normalized_shape, w, b, eps)
    arrays = {"x": x, "weight": w, "bias": b, "y": y, "mean": mean, "rstd": rstd}

    def norm(x, w, b):
        return torch.nn.functional.layer_norm(x, normalized_shape, w, b, eps)

    arrays.update(gradients(name, norm, x, w, b, normalized_shape))
    write(
        name,
        "layer",
        arrays,
        normalized_shape=normalized_shape,
        eps=eps,
    )


def rms(name, shape, dims, eps=1e-5, mean=0.0, std=1.0, weight=True, bias=False, offset=0.0):
    rng = draws(name)
    x = f32(rng.normal(mean, std, shape))
    normalized_shape = list(shape[len(shape) - dims :])
    w, b = affine(rng, normalized_shape, weight, bias)
    if offset:
        w = f32(w - offset)
    # PyTorch has rms_norm only from 2.4 on, without an offset or a bias.
    axes = tuple(range(-dims, 0))

    def rstd_of(x):
        return torch.rsqrt(x.pow(2).mean(axes, keepdim=True) + eps)

    rstd = rstd_of(x)
    y = x * rstd
    if w is not None:
        y = y * (offset + w)
    if b is not None:
        y = y + b
    arrays = {"x": x, "weight": w, "bias": b, "y": y, "rstd": rstd}

    def norm(x, w, b):
        return x * rstd_of(x) * (offset + w) + b

    arrays.update(gradients(name, norm, x, w, b, normalized_shape))
    write(
        name,
        "rms",
        arrays,
        normalized_shape=normalized_shape,
        eps=eps,
        weight_offset=offset,
    )


def group(name, shape, groups, eps=1e-5, mean=0.0, std=1.0, weight=True, bias=True, last=None):
    rng = draws(name)
    x = f32(rng.normal(mean, std, shape))
    n, c = shape[:2]
    w, b = affine(rng, [c], weight, bias)
    y, mean, rstd = torch.native_group_norm(x, w, b, n, c, x[0, 0].numel(), groups, eps)
    arrays = {"x": x, "weight": w, "bias": b, "y": y, "mean": mean, "rstd": rstd}

    def norm(x, w, b):
        return torch.nn.functional.group_norm(x, groups, w, b, eps)

    arrays.update(gradients(name, norm, x, w, b, [c]))
    write_channels(name, "group", arrays, last, num_groups=groups, eps=eps)


def instance(name, shape, eps=1e-5, mean=0.0, std=1.0, weight=True, bias=True, last=None):
    rng = draws(name)
    x = f32(rng.normal(mean, std, shape))
    n, c = shape[:2]
    w, b = affine(rng, [c], weight, bias)
    y = torch.nn.functional.instance_norm(x, weight=w, bias=b, eps=eps)
    # The statistics, which instance_norm keeps to itself.
    of_groups = x.reshape(1, n * c, -1)
    _, mean, rstd = torch.native_batch_norm(of_groups, None, None, None, None, True, 0.0, eps)
    arrays = {"x": x, "weight": w, "bias": b, "y": y}
    arrays.update(mean=mean.reshape(n, c), rstd=rstd.reshape(n, c))

    def norm(x, w, b):
        return torch.nn.functional.instance_norm(x, weight=w, bias=b, eps=eps)

    arrays.update(gradients(name, norm, x, w, b, [c]))
    write_channels(name, "instance", arrays, last, eps=eps)


def instance_unbatched(name, shape, eps=1e-5):
    rng = draws(name)
    x = f32(rng.normal(0.0, 1.0, shape))
    c = shape[0]
    norm = torch.nn.InstanceNorm2d(c, eps=eps, affine=True).double()
    w, b = affine(rng, [c])
    norm.load_state_dict({"weight": w, "bias": b})
    y = norm(x).detach()
    _, mean, rstd = torch.native_batch_norm(
        x.reshape(1, c, -1), None, None, None, None, True, 0.0, eps
    )
    arrays = {"x": x, "weight": w, "bias": b, "y": y}
    arrays.update(mean=mean.reshape(1, c), rstd=rstd.reshape(1, c))

    def of_sample(x, w, b):
        return torch.nn.functional.instance_norm(x[None], weight=w, bias=b, eps=eps)[0]

    arrays.update(gradients(name, of_sample, x, w, b, [c]))
    write(name, "instance", arrays, channel_axis=0, eps=eps)


def batch(
    name,
    shape,
    training,
    eps=1e-5,
    momentum=0.1,
    batches=0,
    estimator="unbiased",
    mean=0.0,
    std=1.0,
    weight=True,
    bias=True,
    running=None,
    last=None,
):
    """`momentum` None is the cumulative average; `batches` have been seen before this one."""
    rng = draws(name)
    x = f32(rng.normal(mean, std, shape))
    c = shape[1]
    w, b = affine(rng, [c], weight, bias)
    if running is None:
        running_mean = f32(rng.normal(mean, std, [c]))
        running_var = f32(rng.uniform(0.5, 2.0, [c]) * std**2)
    else:
        running_mean, running_var = f32(running[0]), f32(running[1])
    arrays = {"x": x, "weight": w, "bias": b}
    arrays.update(running_mean=running_mean, running_var=running_var)

    kinds = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d}
    kinds[5] = torch.nn.BatchNorm3d
    norm = kinds[len(shape)](c, eps=eps, momentum=momentum).double()
    norm.weight.data = torch.ones(c).double() if w is None else w
    norm.bias.data = torch.zeros(c).double() if b is None else b
    norm.running_mean = running_mean.clone()
    norm.running_var = running_var.clone()
    norm.num_batches_tracked.fill_(batches)
    norm.train(training)
    arrays["y"] = norm(x).detach()

    params = {"eps": eps, "training": training}
    if training:
        _, mean, rstd = torch.native_batch_norm(x, None, None, None, None, True, 0.0, eps)
        arrays.update(mean=mean, rstd=rstd)
        arrays.update(running_mean_out=norm.running_mean, running_var_out=norm.running_var)
        if estimator == "population":
            # Not PyTorch's choice, but that of other frameworks.
            axes = [axis for axis in range(len(shape)) if axis != 1]
            var = x.var(axes, unbiased=False)
            arrays["running_var_out"] = (1 - momentum) * running_var + momentum * var
        params.update(momentum=momentum, num_batches_tracked=batches, estimator=estimator)
    else:
        arrays["rstd"] = torch.rsqrt(running_var + eps)
    # The batch's own statistics do not need the running ones.
    given = (None, None) if training else (running_mean, running_var)

    def of_batch(x, w, b):
        return torch.nn.functional.batch_norm(x, *given, w, b, training, 0.0, eps)

    arrays.update(gradients(name, of_batch, x, w, b, [c]))
    write_channels(name, "batch", arrays, last, **params)
    return norm.running_mean, norm.running_var


def main():
    parser = argparse.ArgumentParser(description="Writes the golden files.")
    parser.add_argument("--missing", action="store_true", help="only the arrays that are not there")
    if parser.parse_args().missing:
        kept.update(load_file(ARRAYS))
    far = {"mean": 1e6, "std": 1.0}

    layer("layer_affine", (6, 64), 1)
    layer("layer_rank4", (2, 3, 4, 8), 1, eps=1e-6)
    layer("layer_two_dims", (3, 5, 7, 12), 2)
    layer("layer_all_dims", (9, 15), 2)
    layer("layer_no_affine", (7, 33), 1, weight=False, bias=False)
    layer("layer_weight_only", (5, 48), 1, bias=False)
    layer("layer_odd_width", (3, 1027), 1)
    layer("layer_far_mean", (4, 300), 1, **far)
    layer("layer_small_values", (4, 40), 1, std=1e-3)

    rms("rms_affine", (6, 64), 1, eps=1e-6)
    rms("rms_bias", (5, 48), 1, bias=True)
    rms("rms_two_dims", (3, 4, 6, 10), 2)
    rms("rms_no_affine", (7, 33), 1, weight=False)
    rms("rms_weight_offset", (2, 5, 40), 1, offset=1.0)
    rms("rms_odd_width", (3, 1027), 1)
    rms("rms_far_mean", (4, 300), 1, **far)

    group("group_nchw", (2, 12, 5, 7), 3, last="group_nhwc")
    group("group_ncl", (3, 8, 31), 4, last="group_nlc")
    group("group_one", (2, 6, 4, 5), 1, last="group_one_nhwc")
    group("group_per_channel", (2, 6, 4, 5), 6)
    group("group_no_affine", (2, 8, 3, 3), 2, weight=False, bias=False)
    group("group_nc", (4, 24), 6, eps=1e-3)
    group("group_ncdhw", (2, 4, 3, 3, 5), 2)
    group("group_far_mean", (2, 8, 6, 9), 2, last="group_far_mean_nhwc", **far)

    instance("instance_nchw", (2, 5, 7, 9), last="instance_nhwc")
    instance("instance_no_affine", (2, 4, 5, 6), weight=False, bias=False)
    instance("instance_ncl", (3, 6, 29), last="instance_nlc")
    instance("instance_far_mean", (2, 3, 10, 11), last="instance_far_mean_nhwc", **far)
    instance_unbatched("instance_chw", (5, 6, 8))

    batch("batch_nchw", (4, 6, 5, 7), True, last="batch_nhwc")
    batch("batch_nc", (37, 11), True)
    batch("batch_ncl", (3, 7, 25), True, eps=1e-3, momentum=0.25, last="batch_nlc")
    batch("batch_ncdhw", (2, 3, 3, 4, 5), True)
    batch("batch_no_affine", (8, 5, 3, 3), True, weight=False, bias=False)
    batch("batch_far_mean", (4, 5, 8, 9), True, last="batch_far_mean_nhwc", **far)
    batch("batch_population", (4, 6, 5, 5), True, estimator="population")
    fresh = (np.zeros(6), np.ones(6))
    first = batch("batch_cumulative_1", (3, 6, 4, 5), True, momentum=None, running=fresh)
    # Goes on from the first, its running statistics rounded to float32.
    batch(
        "batch_cumulative_2", (5, 6, 4, 3), True, momentum=None, batches=1, running=first
    )

    batch("batch_eval_nchw", (3, 6, 5, 7), False, last="batch_eval_nhwc")
    batch("batch_eval_nc", (17, 9), False)
    batch("batch_eval_no_affine", (2, 5, 21), False, weight=False, bias=False)
    batch("batch_eval_far_mean", (2, 4, 5, 6), False, last="batch_eval_far_mean_nhwc", **far)

    save_file(arrays_of_cases, ARRAYS)
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    (HERE / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
