#!/usr/bin/env python3
"""Writes the table of docs/gpus.md: what compilers for GPUs make of the shaders that plans for those GPUs take.

    cargo xtask shaders DIR
    python docs/gpus.py DIR/platforms STATISTICS.jsonl...

Each file of statistics is named after a list in DIR/platforms, and has a line of JSON for the device, then one for each job: its number in the
list ("job"), what VK_KHR_pipeline_executable_properties says ("statistics"), and the instructions on memory in the assembly ("memory")."""
import datetime
import json
import pathlib
import re
import sys

# Of what there is room for: warps of NVIDIA, waves of AMD; Intel's widest SIMD.
MOST = {"nvidia-turing": 32, "nvidia-ampere": 48, "nvidia-ada": 48, "amd-vega10": 10, "intel-lnl": 32}


def occupancy(platform, result):
    """The share of the lanes that may be there at once, by registers alone; for Intel, the width of SIMD over the widest."""
    s = result["statistics"]
    if "Max dispatch width" in s:
        return result["subgroup"] / MOST.get(platform, 16)
    if "Max warps/SM" in s:
        return s["Max warps/SM"] / MOST[platform]
    if "Max Waves Per Core" in s:
        return s["Max Waves Per Core"] / 16
    if "Subgroups per SIMD" in s:
        return s["Subgroups per SIMD"] / MOST.get(platform, 32)
    if "Load/store" in s:
        return s["Threads"] / 2
    if "GPRs" in s:
        return s["Threads"] / 1024
    return s["Thread Count"] / 4


def spills(s):
    """Registers stored and loaded again, and bytes of scratch memory."""
    names = ("Spills", "Fills", "STP Count", "LDP Count", "Spilled VGPRs", "Spilled SGPRs", "TMU Spills", "TMU Fills")
    names += ("Spills to memory", "Fills from memory")
    sizes = ("Scratch Memory Size", "SLM size", "Scratch size", "Scratch", "Spill Size")
    return sum(s.get(n, 0) for n in names), max(s.get(n, 0) for n in sizes)


# Accesses of buffers by one lane, for each assembly: the kind, and how its bytes are told.
ACCESSES = (
    (r"(?:buffer|global)_(load|store)_(?:dword|b)(x4|x3|128|96)", lambda m: 16),
    (r"(?:buffer|global)_(load|store)_(?:dword|b)(x2|64)?", lambda m: 8 if m[2] else 4),
    (r"(ld|st)\.global.*\.b(\d+)", lambda m: int(m[2]) // 8),
    (r"(isam)\..*?(\w+)$", lambda m: 4 * len(m[2])),
    (r"(ldib|stib).*\.u32\.(\d)", lambda m: 4 * int(m[2])),
    (r"(LD_PKA|LOAD|STORE|LD_BUFFER)\.i(\d+)", lambda m: int(m[2]) // 8),
    (r"untyped_(read|write):(\w+)", lambda m: 4 * len(m[2])),
    (r"(load|store)\.ugm\.d32(?:x(\d))?\.", lambda m: 4 * int(m[2] or 1)),
)


def narrow(platform, result):
    """Whether a kernel that goes by quads has more accesses of 4 bytes than of 16."""
    wide = few = 0
    for op, count in result["memory"].items():
        # Intel's scratch memory.
        if ".ss" in op:
            continue
        found = next(((m, size) for pattern, size in ACCESSES if (m := re.match(pattern, op))), None)
        if found and found[1](found[0]) >= 12:
            wide += count
        elif found and found[1](found[0]) <= 4:
            few += count
    # Mesa splits what it checks for NVIDIA, and elsewhere workgroup memory looks the same.
    untold = ("nvidia", "mali", "intel-skl", "intel-tgl")
    return "-quad-" in result["shader"] and few > wide and not platform.startswith(untold)


def cell(platform, result):
    if "error" in result:
        return "**fails**"
    share, (spilled, scratch) = occupancy(platform, result), spills(result["statistics"])
    marks = [f"S{spilled}"] * bool(spilled) + [f"M{scratch}"] * bool(scratch and not spilled) + ["n"] * narrow(platform, result)
    text = f"{100 * share:.0f}"
    return f"**{' '.join([text, *marks])}**" if marks or share < 0.5 else text


def main(folder, files):
    rows, platforms, versions = {}, [], set()
    for file in map(pathlib.Path, files):
        platform = file.stem
        device, *results = [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
        lines = (pathlib.Path(folder) / f"{platform}.txt").read_text().splitlines()
        # A job that was there before is a comment.
        jobs = [line.split(" # ")[0] for line in lines if not line.startswith("#")]
        cells = {jobs[result["job"]]: cell(platform, result) for result in results}
        versions.add(device["version"])
        platforms.append(platform)
        for job, title in (line.lstrip("#").split(" # ") for line in lines):
            rows.setdefault(title, {})[platform] = job, cells.get(job, "")
    # Kernels of one norm next to each other, whichever platform has them.
    norms = list(dict.fromkeys(title.split(": ")[0] for title in rows))
    titles = sorted(rows, key=lambda title: norms.index(title.split(": ")[0]))
    # A plan whose shaders another row has already tells nothing.
    first = {}
    for title in titles:
        first.setdefault(tuple(rows[title].get(platform, ("",))[0] for platform in platforms), title)
    titles = [title for title in titles if title in first.values()]
    # Platforms that are alike share a column.
    columns = {}
    for platform in platforms:
        cells = tuple(rows[title].get(platform, ("", ""))[1] for title in titles)
        columns.setdefault(cells, []).append(platform)
    text = f"{datetime.date.today()}, {', '.join(sorted(versions))}\n\n"
    text += f"| norm, and its kernel | {' | '.join(map(', '.join, columns.values()))} |\n|---|{'---|' * len(columns)}\n"
    text += "".join(f"| {' | '.join(line)} |\n" for line in zip(titles, *columns))
    page = pathlib.Path(__file__).with_suffix(".md")
    before, rest = page.read_text().split("<!-- generated: table -->\n")
    after = rest.split("<!-- end -->", 1)[1]
    page.write_text(f"{before}<!-- generated: table -->\n\n{text}\n<!-- end -->{after}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
