#!/usr/bin/env python3
"""Writes the table of docs/gpus.md: what compilers for GPUs make of the shaders that plans for those GPUs take.

    cargo xtask shaders DIR
    python docs/gpus.py DIR/platforms STATISTICS.jsonl...

Each cell below the bar needs a reason in REASONS. Each file of statistics is named after a list in DIR/platforms, and has a line of JSON for the device, then one for each job: its number in the
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


# What is below the bar, and why: kernels, platforms and marks ("half" is less than half of the lanes) as patterns, the first that fits.
REASONS = (
    (r".*apply_columns|sums_columns", r"(?!v3d)", r"n", "Weight, bias and statistics of its columns, which a lane reads once before its loop over rows; "
     "what it reads and writes in the loop goes by 16 bytes."),
    (r"fused_columns", r"nvidia|amd|adreno", r"half", "A lane holds whole columns of up to 8 rows, and reads weight and bias of its four columns one by one. Reading them "
     "four at a time would take another text for groups of at most 8 elements."),
    (r"fused_columns", r"mali|v3d", r"[SM]", "As the line before; these have 64 registers a lane."),
    (r".*fused_parameters", r"amd-navi21", r"half", "x, dy and two sums of each element, for rows of 2049 to 4096: 12 waves of 32. Sums by another pass would read x and dy "
     "once more."),
    (r"stats_columns", r"nvidia|amd", r"half", "8 rows at a time, and four means and variances. With 4 rows it is 14 instead of 10 waves on navi21 and no more elsewhere, and twice "
     "the merges."),
    (r"sums_columns|sums_beside", r"nvidia|amd-navi21", r"half", "Two sums of each of a lane's columns or of the runs that it takes side by side, and their statistics; where an activation follows, "
     "or scale and shift have gradients, weight and bias besides."),
    (r"apply_rows", r"(?!v3d)", r"n", "One gate for each channel, which a lane reads with each of its packs, as do its neighbours at once."),
    (r"fused_rows|backward_apply_columns", r"amd-navi21", r"half", "All loads of weight and bias, or of x and dy, go ahead of the first use of any, since compilers unroll these loops: 4 to 7 waves "
     "of 16, each with many loads on the way."),
    (r"fused_rows", r"adreno-660", r"S", "512 lanes of 4 quads share rows of 4097 to 8192, and this compiler moves the loads of weight and bias ahead of their use, too."),
    (r".*", r"amd-vega10", r"half", "Four waves of ten, each of 64 lanes, at 49 to 64 registers: the ten are for kernels of 24 registers, less than 4 held quads take with "
     "their sums."),
    (r".*", r"intel-(skl|tgl)", r"[SM]", "512 lanes share rows of 2049 to 8192, for which this driver takes 16 lanes an instruction instead of 8 and stores some registers; the "
     "256 lanes of before have as many spills backward, and none forward, at half the width."),
    (r".*", r"mali", r"[SM]", "64 registers a lane, half of which 8 quads at a time take: of columns, and of rows that are read again because 4 quads a lane do not "
     "hold them. With a width that is no multiple of four the indices of single elements take the rest."),
    (r".*", r"v3d", r"[SM]", "64 registers a lane, and loops that Mesa's compiler does not unroll, so that it keeps what is held in memory."),
)


def missed(share, marks, platform):
    """What of it is below the bar: marks, and "half" of the lanes where that counts."""
    few = share < 0.5 and platform.startswith(("amd", "nvidia", "adreno-7", "adreno-8"))
    return marks + ["half"] * few


def reasons(title, platform, misses):
    """The numbers of the reasons for what is below the bar."""
    kernel = title.split(": ")[1].split()[0]
    for miss in misses:
        fits = (n for n, (k, p, m, _) in enumerate(REASONS, 1) if re.fullmatch(k, kernel) and re.match(p, platform) and re.match(m, miss))
        found = next(fits, None)
        if found is None:
            sys.exit(f"{title} on {platform}: {miss} is below the bar, and REASONS does not say why")
        yield found


def cell(title, platform, result):
    if "error" in result:
        sys.exit(f"{title} on {platform} does not compile: {result['error']}")
    share, (spilled, scratch) = occupancy(platform, result), spills(result["statistics"])
    marks = [f"S{spilled}"] * bool(spilled) + [f"M{scratch}"] * bool(scratch and not spilled) + ["n"] * narrow(platform, result)
    text = f"{100 * share:.0f}"
    misses = missed(share, marks, platform)
    if not misses:
        return text
    why = ", ".join(map(str, sorted(set(reasons(title, platform, misses)))))
    return f"**{' '.join([text, *marks])}** ({why})"


def main(folder, files):
    rows, platforms, versions = {}, [], set()
    for file in map(pathlib.Path, files):
        platform = file.stem
        device, *results = [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
        lines = (pathlib.Path(folder) / f"{platform}.txt").read_text().splitlines()
        # A job that was there before is a comment.
        jobs = [line.split(" # ")[0] for line in lines if not line.startswith("#")]
        by_job = {jobs[result["job"]]: result for result in results}
        versions.add(device["version"])
        platforms.append(platform)
        titles = []
        for job, title in (line.lstrip("#").split(" # ") for line in lines):
            # Of a plan that has a kernel twice.
            titles.append(title)
            title += f" ({titles.count(title)})" * (titles.count(title) > 1)
            rows.setdefault(title, {})[platform] = job, cell(title, platform, by_job[job]) if job in by_job else ""
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
    shown = [cell for title in titles for _, cell in rows[title].values()]
    below = [f"{sum(f'{n})' in re.split('[(, ]', cell) for cell in shown)} | {reason[3]}" for n, reason in enumerate(REASONS, 1)]
    text += f"\nBelow the bar are {sum('(' in cell for cell in shown)} of {sum(map(bool, shown))} cells:\n\n| | cells | |\n|--:|--:|---|\n"
    text += "".join(f"| {n} | {line} |\n" for n, line in enumerate(below, 1))
    page = pathlib.Path(__file__).with_suffix(".md")
    before, rest = page.read_text().split("<!-- generated: table -->\n")
    after = rest.split("<!-- end -->", 1)[1]
    page.write_text(f"{before}<!-- generated: table -->\n\n{text}\n<!-- end -->{after}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
