#!/usr/bin/env python3
"""Time and memory of a training against its size: runs bench_scaling, a process a run, and prints the tables and fits
of bench/SCALING.md.

Usage: python3 bench/scaling.py --build build/release [--save runs.json] [--most 100000] [--repeats 3]
       python3 bench/scaling.py --read runs.json
Some six minutes on two cores. Before, between and after, the same small run is timed: where its time moved by more
than a tenth the machine was not quiet and the figures are flagged.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--build", default="build/release", help="build folder with the benchmark programs")
parser.add_argument("--save", default="", help="file for the runs")
parser.add_argument("--read", default="", help="file of runs: prints their tables, runs nothing but estimates")
parser.add_argument("--most", type=int, default=100000, help="most items")
parser.add_argument("--repeats", type=int, default=3, help="runs of up to 20,000 items; larger ones run once")
args = parser.parse_args()

ITEMS = [1000, 2000, 5000, 10000, 20000, 50000, 100000]
COLUMNS = [10, 50, 784]
MOST_WIDE = 50000  # items of 784 columns
BATCHES = [100, 500, 1000, 2000]


def run(**size):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in size.items()]
    command = [os.path.join(args.build, "bench", "bench_scaling"), *options]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{out.stderr}")
    return json.loads(out.stdout)


def median_of(runs):
    return {key: value if isinstance(value, str) else statistics.median(r[key] for r in runs)
            for key, value in runs[0].items()}


def sizes():
    for dim in COLUMNS:
        for n in ITEMS:
            if n <= (MOST_WIDE if dim > 100 else args.most):
                yield dict(routine="tsne", n=n, dim=dim, batch=500, threads=2)
    for n in ITEMS:
        if n <= args.most:
            yield dict(routine="umap", n=n, dim=50, batch=500, threads=2)
    for routine in ("tsne", "umap"):
        for batch in BATCHES:
            if batch != 500:
                yield dict(routine=routine, n=20000, dim=50, batch=batch, threads=2)


def one_thread_and_two():
    """Runs that alternate, a pair each."""
    for routine, dim in (("tsne", 50), ("tsne", 784), ("umap", 50)):
        for _ in range(args.repeats):
            yield [run(routine=routine, n=20000, dim=dim, batch=500, threads=threads) for threads in (1, 2)]


def measure():
    normal = dict(routine="tsne", n=5000, dim=784, batch=500, threads=2)
    normals, runs = [], []
    all_sizes = list(sizes())
    for i, size in enumerate(all_sizes):
        if i % 12 == 0:
            normals.append(run(**normal))
        runs.append(median_of([run(**size) for _ in range(args.repeats if size["n"] <= 20000 else 1)]))
        print(".", end="", file=sys.stderr, flush=True)
    pairs = list(one_thread_and_two())
    normals.append(run(**normal))
    print(file=sys.stderr)
    return {"normals": normals, "runs": runs, "pairs": pairs}


def seconds(t):
    return f"{t:.0f} s" if t >= 10 else f"{t:.1f} s" if t >= 1 else f"{t * 1e3:.0f} ms" if t >= 0.01 else f"{t * 1e3:.1f} ms"


def table(head, rows):
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def power(points):
    """Exponent of y = c x^p through points, by least squares of the logarithms."""
    x, y = ([math.log(point[i]) for point in points] for i in (0, 1))
    return statistics.covariance(x, y) / statistics.variance(x)


def report(result):
    runs = result["runs"]

    def pick(**want):
        return [r for r in runs if all(r[key] == value for key, value in want.items())]

    stages = ["neighbors", "search", "symmetrize", "start"]
    for routine, dims in (("tsne", COLUMNS), ("umap", [50])):
        for dim in dims:
            rows = pick(routine=routine, dim=dim, batch=500, threads=2)
            print(f"\n{routine}, {dim} columns, k = {rows[0]['k']:.0f}")
            table(["items", *stages, "sampling", "step", "apply 1,000", "entries an item", "peak MB", "estimate", "ratio"],
                  [[f"{r['n']:,.0f}", *(seconds(r[s]) for s in stages), seconds(r["sampling"]), f"{r['step'] * 1e3:.2f} ms",
                    f"{r['apply'] * 1e6:.2f} ms", f"{r['entries']:.0f}", f"{r['peak_bytes'] / 1e6:.0f}",
                    f"{r['estimate_bytes'] / 1e6:.0f}", f"{r['estimate_bytes'] / r['peak_bytes']:.2f}"] for r in rows])
            large = [r for r in rows if r["n"] >= 10000]
            fits = {s: power([(r["n"], r[s]) for r in large]) for s in [*stages, "step", "peak_bytes"]}
            print("\nexponents of N from 10,000 on: " + ", ".join(f"{s} {p:.2f}" for s, p in fits.items()))
            last = large[-1]
            print(f"neighbours at {last['n']:,.0f}: {last['neighbors'] / last['n'] ** 2 * 1e9:.2f} ns a pair, "
                  f"{last['n'] ** 2 * last['dim'] / last['neighbors'] * 1e-9:.0f} GFLOP/s of N^2 D; memory "
                  f"{last['peak_bytes'] / last['n']:.0f} B an item")
    table(["routine", "batch", "step", "exponent from 500 on"],
          [[routine, f"{r['batch']:.0f}", f"{r['step'] * 1e3:.2f} ms",
            f"{power([(b['batch'], b['step']) for b in rows if b['batch'] >= 500]):.2f}"]
           for routine in ("tsne", "umap")
           for rows in [sorted(pick(routine=routine, n=20000, dim=50, threads=2), key=lambda r: r["batch"])]
           for r in rows])
    keys = [*stages, "step", "apply"]
    table(["one thread by two", "columns", *keys],
          [[routine, dim, *(f"{statistics.median(one[key] / two[key] for one, two in pairs):.2f}" for key in keys)]
           for routine, dim in (("tsne", 50), ("tsne", 784), ("umap", 50))
           for pairs in [[(one, two) for one, two in result["pairs"] if one["routine"] == routine and one["dim"] == dim]]])
    for key in ("neighbors", "step"):
        values = [r[key] for r in result["normals"]]
        spread = max(values) / min(values) - 1
        print(f"\nnormal run, {key}: " + " ".join(f"{v * 1e3:.2f}" for v in values) + f" ms, spread {spread:.0%}"
              + (" (not quiet: run again)" if spread > 0.1 else ""))
    table(["routine", "items", "columns", "estimate"],
          [[routine, f"{n:,}", dim, f"{run(routine=routine, n=n, dim=dim, threads=threads, estimate_only=1)['estimate_bytes'] * 1e-9:.2f} GB ({threads} threads)"]
           for routine in ("tsne", "umap") for n, threads in ((100_000, 2), (1_000_000, 64), (100_000_000, 64)) for dim in (50, 784)])


if args.read:
    with open(args.read) as f:
        report(json.load(f))
else:
    result = measure()
    if args.save:
        with open(args.save, "w") as f:
            json.dump(result, f)
    report(result)
