"""Writes checkpoints of PyTorch's norms, and what PyTorch makes of them in float64.

    pip install torch safetensors numpy
    python tests/golden/nn/generate.py

The files here are from PyTorch 2.15.0 on a CPU.

checkpoint.safetensors is the state_dict of a model whose modules are the layers of `model()`, in float32 as they would be
saved after some training: parameters and running statistics are drawn, and num_batches_tracked is 7 where there is one.
checkpoint_f16, _bf16 and _f64 are the same, converted (the last from numbers that float32 does not hold).

expected.safetensors holds for each layer NAME, all but x and grad_output in float64: NAME.x and NAME.grad_output, float32;
NAME.y, NAME.grad_input, NAME.grad_weight, NAME.grad_bias of that x in training mode; NAME.y_eval and NAME.grad_input_eval in
evaluation, with the running statistics of the checkpoint; and where there are running statistics, NAME.running_mean and
NAME.running_var after three steps of training on x, x times 2 and x plus 1. TYPE.KEY, for the types f16, bf16 and f64 and
the keys of batch1d, is what PyTorch makes of the converted checkpoint in float32.

repr.json is what PyTorch prints for each layer of `model()`, and for some that have nothing to save.
"""

import copy
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent

# The shape of x of each layer.
SHAPES = {
    "batch1d": (6, 5),
    "batch1d_positions": (4, 3, 7),
    "batch2d": (3, 4, 5, 3),
    "batch3d": (2, 3, 2, 3, 4),
    "batch_cumulative": (6, 5),
    "batch_no_bias": (6, 5),
    "layer": (4, 12),
    "layer_two": (3, 4, 6),
    "layer_no_bias": (4, 12),
    "group": (3, 6, 5),
    "instance1d": (3, 4, 9),
    "instance2d": (2, 3, 4, 5),
    "rms": (4, 12),
    "rms_eps": (3, 4, 6),
}


def model() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "batch1d": nn.BatchNorm1d(5),
            "batch1d_positions": nn.BatchNorm1d(3, eps=1e-3),
            "batch2d": nn.BatchNorm2d(4, momentum=0.25),
            "batch3d": nn.BatchNorm3d(3),
            "batch_cumulative": nn.BatchNorm1d(5, momentum=None),
            "batch_no_bias": nn.BatchNorm1d(5, bias=False),
            "layer": nn.LayerNorm(12),
            "layer_two": nn.LayerNorm((4, 6), eps=1e-12),
            "layer_no_bias": nn.LayerNorm(12, bias=False),
            "group": nn.GroupNorm(3, 6),
            "instance1d": nn.InstanceNorm1d(4, affine=True),
            "instance2d": nn.InstanceNorm2d(3, affine=True),
            "rms": nn.RMSNorm(12),
            "rms_eps": nn.RMSNorm((4, 6), eps=1e-6),
        }
    )


def without_state() -> dict[str, nn.Module]:
    return {
        "batch_plain": nn.BatchNorm2d(64, eps=0.0, affine=False, track_running_stats=False),
        "layer_plain": nn.LayerNorm((2, 3), elementwise_affine=False),
        "group_plain": nn.GroupNorm(1, 4, eps=1e-4, affine=False),
        "group_no_bias": nn.GroupNorm(2, 4, bias=False),
        "instance_plain": nn.InstanceNorm3d(7, eps=2.5e-7),
        "rms_plain": nn.RMSNorm(3, elementwise_affine=False),
    }


def draw(modules: nn.ModuleDict, rng: np.random.RandomState) -> None:
    for name, tensor in modules.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif name.endswith("running_var"):
            tensor.copy_(torch.from_numpy(rng.uniform(0.3, 3.0, shape)))
        elif name.endswith("weight"):
            tensor.copy_(torch.from_numpy(rng.normal(1.0, 0.3, shape)))
        else:
            tensor.copy_(torch.from_numpy(rng.normal(0.0, 0.5, shape)))


def expect(name: str, layer: nn.Module, rng: np.random.RandomState) -> dict[str, torch.Tensor]:
    shape = SHAPES[name]
    x = torch.from_numpy(rng.normal(0.5, 1.5, shape).astype(np.float32))
    grad_output = torch.from_numpy(rng.normal(0.2, 1.0, shape).astype(np.float32))
    # In float64, but for the eps that goes by the type.
    layer = copy.deepcopy(layer).double()
    if isinstance(layer, nn.RMSNorm) and layer.eps is None:
        layer.eps = torch.finfo(torch.float32).eps
    out = {f"{name}.x": x, f"{name}.grad_output": grad_output}

    def step(layer: nn.Module, suffix: str) -> None:
        given = x.double().requires_grad_()
        layer.zero_grad()
        y = layer(given)
        y.backward(grad_output.double())
        out[f"{name}.y{suffix}"] = y.detach()
        out[f"{name}.grad_input{suffix}"] = given.grad
        for parameter, value in layer.named_parameters():
            out[f"{name}.grad_{parameter}{suffix}"] = value.grad.clone()

    step(copy.deepcopy(layer).train(), "")
    step(copy.deepcopy(layer).eval(), "_eval")
    if hasattr(layer, "running_mean") and layer.running_mean is not None:
        layer.train()
        for batch in (x, x * 2, x + 1):
            layer(batch.double())
        out[f"{name}.running_mean"] = layer.running_mean
        out[f"{name}.running_var"] = layer.running_var
        assert layer.num_batches_tracked == 10
    return out


def main() -> None:
    rng = np.random.RandomState(8)
    modules = model().double()
    draw(modules, rng)
    expected: dict[str, torch.Tensor] = {}
    for name, dtype in (("f64", torch.float64), ("f16", torch.float16), ("bf16", torch.bfloat16)):
        converted = {k: convert(v, dtype) for k, v in modules.state_dict().items()}
        save_file(converted, HERE / f"checkpoint_{name}.safetensors")
        expected |= {f"{name}.{k}": v.float().clone() for k, v in converted.items() if k.startswith("batch1d.")}
    modules = modules.float()
    save_file(modules.state_dict(), HERE / "checkpoint.safetensors")

    for name, layer in modules.items():
        expected |= expect(name, layer, rng)
    save_file({k: v.contiguous() for k, v in expected.items()}, HERE / "expected.safetensors")

    layers = dict(modules.items()) | without_state()
    text = json.dumps({name: repr(layer) for name, layer in layers.items()}, indent=2)
    (HERE / "repr.json").write_text(text + "\n")


def convert(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


if __name__ == "__main__":
    main()
