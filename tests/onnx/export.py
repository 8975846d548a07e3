"""Exports ONNX's own node tests of the normalization operators.

    pip install onnx==1.23.2 safetensors numpy==2.4.6
    python tests/onnx/export.py

writes, next to this script, every tensor as CASE.KEY (test_lpnormalization_default.x) into
cases.safetensors, and into cases.json the cases, and what was left out, and why. Nothing is drawn here: inputs and expected outputs are those that the onnx
package makes, which seeds numpy's frozen RandomState before each test. Expected outputs are what
numpy computes in float32, so another numpy or CPU may differ in their last bits.

A case has the name of ONNX's test, and of the operator's attributes those that the test sets: the
others are to be at their defaults. Tensors are named as this library names them; running_mean_out
and running_var_out are BatchNormalization's further outputs in training mode.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases
from safetensors.numpy import save_file

HERE = Path(__file__).parent

AFFINE = ("x", "weight", "bias")
# What each operator's inputs and outputs are, by position.
OPERATORS = {
    "LayerNormalization": (AFFINE, ("y", "mean", "rstd")),
    "RMSNormalization": (("x", "weight"), ("y",)),
    "GroupNormalization": (AFFINE, ("y",)),
    "InstanceNormalization": (AFFINE, ("y",)),
    "BatchNormalization": (
        (*AFFINE, "running_mean", "running_var"),
        ("y", "running_mean_out", "running_var_out"),
    ),
    "MeanVarianceNormalization": (("x",), ("y",)),
    "LpNormalization": (("x",), ("y",)),
}

# Operators whose meaning changed: the opset of the first version that is this library's.
FIRST_OPSET = {
    # Until then scale and bias were per group.
    "GroupNormalization": 21,
    # Until then spatial and is_test were attributes, and the training outputs five.
    "BatchNormalization": 15,
}


def named(names, values, keys):
    """The tensors that are there, by our name; `names` are the node's, empty where left out."""
    values = iter(values)
    return {key: np.asarray(next(values)) for key, name in zip(keys, names, strict=False) if name}


def why_not(operator, opset, tensors):
    """Why a test does not apply, or None."""
    others = sorted({str(array.dtype) for array in tensors.values()} - {"float32"})
    if others:
        return f"has tensors of {', '.join(others)}: the library computes in f32"
    if opset < FIRST_OPSET.get(operator, 0):
        return f"is of opset {opset}, where {operator} meant something else"
    return None


def lines(items):
    """One item to a line, by name."""
    by_name = sorted(items, key=lambda item: item["name"])
    return ",\n".join("    " + json.dumps(item) for item in by_name)


def main():
    with warnings.catch_warnings():
        # Of all the other operators' tests.
        warnings.simplefilter("ignore")
        tests = collect_testcases()

    own = [test for test in tests if test.model.graph.node[0].op_type in OPERATORS]
    own = [test for test in own if len(test.model.graph.node) == 1]
    names = {test.name for test in own}
    cases, excluded, arrays = [], [], {}
    for test in own:
        node = test.model.graph.node[0]
        (opset,) = (entry.version for entry in test.model.opset_import if entry.domain == "")
        ((inputs, outputs),) = test.data_sets
        given, wanted = OPERATORS[node.op_type]
        tensors = named(node.input, inputs, given) | named(node.output, outputs, wanted)
        reason = why_not(node.op_type, opset, tensors)
        if reason:
            excluded.append({"name": test.name, "why": reason})
            continue
        case = {"name": test.name, "operator": node.op_type, "opset": opset}
        case["attributes"] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for key, array in tensors.items():
            # The first makes an axis of none; the second takes it back.
            arrays[f"{test.name}.{key}"] = np.ascontiguousarray(array).reshape(array.shape)
        cases.append(case)
    for test in tests:
        base, found, _ = test.name.partition("_expanded")
        if found and base in names:
            why = f"is {base} again, with the operator written out as other operators"
            excluded.append({"name": test.name, "why": why})

    save_file(arrays, HERE / "cases.safetensors")
    (HERE / "cases.json").write_text(
        f'{{\n  "onnx": "{onnx.__version__}",\n'
        f'  "cases": [\n{lines(cases)}\n  ],\n'
        f'  "excluded": [\n{lines(excluded)}\n  ]\n}}\n'
    )


if __name__ == "__main__":
    main()
