#!/usr/bin/env python3
"""Quality of the example programs, mean over seeds, beside that of ParaDime on the same data.

Usage: python3 bench/quality.py [--data examples/data] [--build build/release] [--seeds 1,2,3,4,5] [--only hybrid,guided]
`data` is what examples/get_data.sh fills; seeds may be a range, 0-19. Every program runs once a seed; the table gives the
mean, the worst seed, ParaDime's value, and `below` where the mean falls short of it by more than the margin.

ParaDime's values: its own programs (1.1.0) with PyTorch 2.15 and scikit-learn 1.9.1, means over seeds 1 to 5; those of
guided, mds and the weights 5, 100, 300 and 500 of hybrid one run each, with seed 42 (commit d613d33, PyTorch 1.13.1 and
scikit-learn 1.2.1), but for r and the loss without guidance, means over seeds 1, 2 and 42. Margins: trustworthiness
0.01, k-NN accuracy 0.02 (hybrid 0.03), classification 0.01, |r| 0.01, losses 3 %.
Those of label_embedding: the published program's with PyTorch, means over seeds 0..19, margins one standard error.
Those of autoencoder: the published program's with PyTorch 2.15, means over 3 to 20 seeds (see RESULTS.md), margins 2 %
(accuracies 0.01). Where the latent values have an activation most starts of both end at the mean image, so that these
runs of part c are not compared; part b has no published run.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--build", default="build/release")
parser.add_argument("--data", default="examples/data")
parser.add_argument("--seeds", default="1,2,3,4,5")
parser.add_argument("--only", default="")
parser.add_argument("--device", default="cpu")
args = parser.parse_args()
seeds = []
for part in args.seeds.split(","):
    first, _, last = part.partition("-")
    seeds += range(int(first), int(last or first) + 1)


def metric(group, name):
    return f"{group} {name}", lambda run: run["metrics"][group][name]


def loss(epoch=-1):
    title = "loss" if epoch < 0 else f"loss of epoch {epoch}"
    return title, lambda run: run["phases"][-1]["loss"][epoch]


def component(name):
    return f"loss {name}", lambda run: run["phases"][-1]["components"][name][-1]


def correlation():
    return "|r|", lambda run: abs(run["metrics"]["train"]["correlation"])


def map_quality(trust, train, unseen, margin=0.02):
    """Rows (measure, ParaDime's value, margin; a negative one where less is better, as a share)."""
    return [(metric("train", "trustworthiness"), trust, 0.01), (metric("train", "knn_accuracy"), train, margin),
            (metric("unseen", "knn_accuracy"), unseen, margin)]


def hybrid(trust, train, unseen, classified, classified_unseen, epoch_45):
    return map_quality(trust, train, unseen, 0.03) + [
        (metric("train", "accuracy"), classified, 0.01), (metric("unseen", "accuracy"), classified_unseen, 0.01),
        (loss(45), epoch_45, -0.03)]


def guided(trust, train, unseen, r, kl, kl_value):
    return map_quality(trust, train, unseen) + [(correlation(), r, 0.01), (kl, kl_value, -0.03)]


def label_places(error, error_margin, nearest, nearest_margin):
    return [(metric("unseen", "error"), error, error_margin),
            (metric("unseen", "nearest_accuracy"), nearest, nearest_margin)]


def autoencoder(train, unseen):
    """The loss in training, the one that is trained on, and the MSE of unseen images."""
    return [(metric("train", "loss"), train, -0.02), (metric("unseen", "mse"), unseen, -0.02)]


def classified(accuracy):
    return [(metric("unseen", "accuracy"), accuracy, 0.01)]


# program: options of its own
options = {"autoencoder": ["--part=a,c,d,e,f,g,h,i"]}
# program: (folder of data or None, {run: rows})
programs = {
    "parametric_tsne": ("mnist", {"": map_quality(0.926, 0.852, 0.798) + [(loss(), 0.0311, -0.03)]}),
    "parametric_umap": ("mnist", {"": map_quality(0.910, 0.806, 0.777) + [(loss(), 2.22, -0.03)]}),
    "hybrid": ("mnist", {
        "weight 0": hybrid(0.679, 0.406, 0.381, 0.979, 0.911, 1.0333),
        "weight 5": hybrid(0.742, 0.567, 0.509, 0.978, 0.913, 1.417787),
        "weight 20": hybrid(0.760, 0.567, 0.550, 0.979, 0.913, 2.4278),
        "weight 50": hybrid(0.784, 0.578, 0.559, 0.980, 0.914, 4.3906),
        "weight 100": hybrid(0.808, 0.574, 0.572, 0.977, 0.917, 7.479751),
        "weight 200": hybrid(0.823, 0.622, 0.601, 0.975, 0.917, 13.277),
        "weight 300": hybrid(0.830, 0.636, 0.606, 0.969, 0.916, 19.279837),
        "weight 500": hybrid(0.843, 0.672, 0.636, 0.964, 0.916, 30.706888)}),
    "guided": ("covertype", {
        "not guided": guided(0.934, 0.482, 0.410, 0.516, loss(), 0.0392),
        "t-SNE 5000 : 1 guiding": guided(0.933, 0.478, 0.417, 0.59, component("embedding"), 195.2),
        "t-SNE 1000 : 1 guiding": guided(0.919, 0.455, 0.372, 0.930, component("embedding"), 42.8),
        "t-SNE 100 : 1 guiding": guided(0.910, 0.466, 0.376, 0.9985, component("embedding"), 4.58)}),
    "supervised": ("covertype", {"": map_quality(0.891, 0.603, 0.535) + [(loss(), 28.8, -0.03)]}),
    "label_embedding": (None, {
        "classifier, softmax twice": [(metric("unseen", "accuracy"), 0.925, 0.022)],
        "regression": label_places(0.233, -0.115, 0.923, 0.017),
        "gaussian": label_places(0.219, -0.17, 0.918, 0.020)}),
    "autoencoder": ("mnist", {
        "a SGD": autoencoder(0.0491, 0.0477),
        "c none": autoencoder(0.0367, 0.0362),
        "d Adam": autoencoder(0.0367, 0.0362),
        "d SGD+momentum": autoencoder(0.0645, 0.0628),
        "d RMSprop": autoencoder(0.0365, 0.0368),
        "d Adam+L2": autoencoder(0.0376, 0.0367),
        "e MSE": autoencoder(0.0367, 0.0362),
        "e BCE": autoencoder(0.1794, 0.0384),
        "e L1": autoencoder(0.0862, 0.0578),
        "e SmoothL1": autoencoder(0.0185, 0.0366),
        "f Adam": autoencoder(0.0443, 0.0450),
        "g 10-D": autoencoder(0.0173, 0.0178),
        "h raw": classified(0.989),
        "h latent": classified(0.970),
        "h reconstruction": classified(0.973),
        "h combined": classified(0.985),
        "i semi-supervised": classified(0.960) + [(metric("unseen", "mse"), 0.0186, -0.02)]}),
    "mds": (None, {"components": [(loss(), 6.3e-5, -0.03)]}),
}


def run(program, folder, seed, out):
    command = [os.path.join(args.build, "examples", program), f"--seed={seed}", f"--out={out}",
               f"--device={args.device}", *options.get(program, [])]
    if folder:
        path = os.path.join(args.data, folder)
        command.append(f"--data={path if os.path.exists(path) else args.data}")
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    seconds = time.perf_counter() - start
    with open(os.path.join(out, "report.json")) as file:
        report = json.load(file)
    aside = sum(stage["seconds"] for stage in report["stages"] if stage["name"] in ("measuring quality", "drawing"))
    runs = {r["name"]: r for r in report["runs"]} if report.get("runs") else {"": report}
    return runs, seconds, seconds - aside


def short(value):
    return f"{value:.3g}" if value < 0.1 or value >= 10 else f"{value:.3f}"


chosen = args.only.split(",") if args.only else list(programs)
if unknown := set(chosen) - set(programs):
    sys.exit(f"--only: {', '.join(sorted(unknown))} unknown; there are {', '.join(programs)}")
print(f"seeds {args.seeds}\n{'program':16} {'run':24} {'measure':22} {'mean':>8} {'worst':>8} {'ParaDime':>8}")
below = 0
for program, (folder, runs) in programs.items():
    if program not in chosen:
        continue
    reports, times = [], []
    with tempfile.TemporaryDirectory() as out:
        for seed in seeds:
            report, *seconds = run(program, folder, seed, out)
            reports.append(report)
            times.append(seconds)
    for name, rows in runs.items():
        for (measure, value_of), reference, margin in rows:
            values = [value_of(report[name]) for report in reports]
            mean = statistics.mean(values)
            less_is_better = margin < 0
            missed = mean > reference * (1 - margin) if less_is_better else mean < reference - margin
            below += missed
            worst = max(values) if less_is_better else min(values)
            print(f"{program:16} {name:24} {measure:22} {short(mean):>8} {short(worst):>8} {short(reference):>8}"
                  + ("  below" if missed else ""), flush=True)
    whole, without = (statistics.median(t) for t in zip(*times))
    print(f"{program:16} {whole:.1f} s a run, {without:.1f} s without measuring and drawing", flush=True)
print(f"{below} below")
