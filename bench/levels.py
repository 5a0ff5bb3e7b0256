#!/usr/bin/env python3
"""The same work at each instruction-set level of this machine.

Usage: python3 bench/levels.py --build build/release [--data <MNIST's training images>] [--rounds 3] [--only bench_phase]
Prints a table of medians and, behind each, how many times as fast as x86-64 it is: a median of paired rounds. Each
benchmark compares with a reference before it times. Before and after, the same product is timed: where its time moved
by more than a tenth the machine was not quiet.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--build", default="build/release", help="build folder with the benchmark programs")
parser.add_argument("--data", default="", help="MNIST's training images; made-up ones without it")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--levels", default="v1,v3,v4")
parser.add_argument("--only", default="", help="comma-separated programs")
args = parser.parse_args()
levels = args.levels.split(",")

# what, program, benchmark
CASES = [
    ("t-SNE step, batch 500 of 5,000, 784-100-50-2", "bench_phase", "tsne_step/threads:2/"),
    ("UMAP step, 500 edges with 3 random ones each, 784-100-50-2", "bench_scaling", "--routine=umap"),
    ("product 500 x 784 by 784 x 100", "bench_matmul", "float/layer_1/500x100x784/threads:2/"),
    ("product 1,024 x 1,024 by 1,024 x 1,024", "bench_matmul", "float/square/1024x1024x1024/threads:2/"),
    ("91 nearest neighbours of 5,000 x 784", "bench_pairs", "knn/images_5000x784/k:91/threads:2/"),
    ("600 nearest neighbours of 7,000 x 10", "bench_pairs", "knn/7000x10/k:600/threads:2/"),
    ("perplexity search, 5,000 x 90", "bench_relations", "perplexity/90/2/"),
    ("connectivity search, 5,000 x 30", "bench_relations", "connectivity/30/2/"),
    ("symmetrize, 5,000 x 90", "bench_relations", "symmetrize/90/2/"),
]


def run(command, level):
    out = subprocess.run(command, env=dict(os.environ, FLATLAND_ISA=level), capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{' '.join(command)} failed at level {level}:\n{out.stderr}")
    return json.loads(out.stdout)


def milliseconds(program, name, level):
    if program == "bench_scaling":
        return run([os.path.join(args.build, "bench", program), name], level)["step"] * 1e3
    command = [os.path.join(args.build, "bench", program), f"--benchmark_filter=^{name}", "--benchmark_format=json",
               "--benchmark_min_time=0.05", "--benchmark_repetitions=3"]
    if args.data and program in ("bench_phase", "bench_pairs"):
        command.append(f"--data={args.data}")
    rows = [b for b in run(command, level)["benchmarks"] if b.get("aggregate_name") == "median"]
    if len(rows) != 1 or rows[0].get("error_occurred"):
        sys.exit(f"{program} at level {level}: {len(rows)} results match {name}; one is wanted")
    return rows[0]["real_time"] * {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}[rows[0]["time_unit"]]


def normal():
    return milliseconds("bench_matmul", CASES[3][2], levels[0])


before = normal()
print("| | " + " | ".join(levels) + " |\n|" + "---|" * (len(levels) + 1), flush=True)
for what, program, name in CASES:
    if args.only and program not in args.only.split(","):
        continue
    times = {level: [] for level in levels}
    for _ in range(args.rounds):
        for level in levels:
            times[level].append(milliseconds(program, name, level))
    cells = []
    for level in levels:
        ratios = sorted(first / own for first, own in zip(times[levels[0]], times[level]))
        cell = f"{statistics.median(times[level]):.3g} ms"
        if level != levels[0]:
            cell += f", {statistics.median(ratios):.1f} ({ratios[0]:.1f}-{ratios[-1]:.1f})"
        cells.append(cell)
    print(f"| {what} | " + " | ".join(cells) + " |", flush=True)
drift = normal() / before - 1
print(f"\nmachine drift {drift:+.0%}" + (" (not quiet: run again)" if abs(drift) > 0.1 else ""))
