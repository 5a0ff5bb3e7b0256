#!/usr/bin/env python3
"""flatland against the Python stack on the same machine, in one interleaved run.

Usage: python3 bench/compare.py --build build/release [--data examples/data/mnist] [--rounds 9] [--threads 2] [--only tsne_step]
Needs numpy, scipy, scikit-learn and torch; ParaDime too (pip install paradime) for its own figures,
pynndescent for knn, and hnswlib too for knn_approximate.

A round times ours, then each rival, then the next round begins; the printed ratio is the median over the rounds of
rival / ours, with the smallest and largest. Before and after, a fixed piece of work is timed: where its time moved
by more than a tenth the machine was not quiet and the figures are flagged.
"""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
import warnings

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--build", default="build/release", help="build folder with the benchmark programs")
parser.add_argument("--data", default="examples/data/mnist", help="folder of MNIST's IDX files")
parser.add_argument("--covertype", default="", help="CSV file of Covertype, for knn_covertype")
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--threads", type=int, default=2, choices=(1, 2), help="threads of ours")
parser.add_argument("--rival-threads", type=int, default=1, help="threads of the rivals: run with 1 and 2, quote the better")
parser.add_argument("--only", default="", help="names of measures with commas between them, such as tsne_step,knn (see the table below)")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.rival_threads)
warnings.filterwarnings("ignore")

import numpy as np
import torch

import compare_neighbors as neighbors

torch.set_num_threads(args.rival_threads)
try:
    import paradime.dr
    import paradime.loss
    import paradime.relationdata
    import paradime.relations
    import paradime.routines
    import paradime.transforms
    import paradime.utils
except ImportError:
    paradime = None

N, MANY, K, BATCH, RATE = 5000, 20000, 90, 500, 3


def images_file():
    for stem in ("train-images-idx3-ubyte.gz", "train-20000-images-idx3-ubyte.gz"):
        path = os.path.join(args.data, stem)
        if os.path.exists(path):
            return path
    sys.exit(f"{args.data}: no MNIST training images; get them with examples/get_data.sh mnist")


def mnist(n):
    with gzip.open(images_file()) as f:
        raw = f.read(16 + n * 784)
    return np.frombuffer(raw, np.uint8, offset=16).reshape(n, 784).astype(np.float32) / 255


def milliseconds(work, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def ours(program, name):
    """Median milliseconds of a benchmark, in a process of its own."""
    command = [os.path.join(args.build, "bench", program), f"--benchmark_filter=^{name}", "--benchmark_format=json",
               "--benchmark_min_time=0.05", "--benchmark_repetitions=5"]
    if program in ("bench_pairs", "bench_phase", "bench_loop", "bench_step"):
        command.append(f"--data={images_file()}")
    if program == "bench_neighbors" and args.covertype:
        command.append(f"--data={args.covertype}")
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS")
    out = subprocess.run(command, env=environment, capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{out.stderr}")
    rows = [b for b in json.loads(out.stdout)["benchmarks"] if b.get("aggregate_name") == "median"]
    if len(rows) != 1:
        sys.exit(f"{program}: {len(rows)} benchmarks match {name}; one is wanted")
    return rows[0]["real_time"] * {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}[rows[0]["time_unit"]]


def calibration():
    a = np.ones((512, 512), np.float32)
    return milliseconds(lambda: a @ a, 15)


def neighbours(x):
    from sklearn.neighbors import NearestNeighbors

    distances, index = NearestNeighbors(n_neighbors=K + 1, algorithm="brute").fit(x).kneighbors(x)
    index[:, 0] = np.arange(len(x))
    return index, distances.astype(np.float32)


def endless_batches(dr, phase):
    while True:
        yield from dr._prepare_loader(phase)


def paradime_tsne(x):
    """ParaDime's routine with its relations computed."""
    dr = paradime.routines.ParametricTSNE(in_dim=784)
    for relation in dr.global_relations.values():
        relation.transform[0].kwargs["bracket"] = [1e-3, 1e3]
    dr.add_data({"main": torch.tensor(x)})
    dr.compute_derived_data(only="other")
    dr.compute_global_relations()
    return dr


def paradime_step(x):
    """One step of ParaDime's own training loop, its own classes throughout."""
    dr = paradime_tsne(x)
    phase = dr.training_phases[1]
    relation, batch_relation = dr.global_relation_data["rel"], dr.batch_relations["rel"]
    optimizer = torch.optim.Adam(dr.model.parameters(), lr=0.01)
    batches = endless_batches(dr, phase)

    def step():
        batch = next(batches)
        optimizer.zero_grad()
        p = relation.sub(batch["indices"])
        q = batch_relation.compute_relations(dr.model.embed(batch["main"])).data
        paradime.loss.kullback_leibler_div(p / p.sum(), q).backward()
        optimizer.step()

    return step


def paradime_sub_matrix(x):
    relation = paradime_tsne(x).global_relation_data["rel"]
    return lambda: relation.sub(torch.randperm(N)[:BATCH])


def paradime_pairs(x):
    """Student-t affinities of a batch, the divergence and its gradient."""
    dr = paradime_tsne(x)
    p = dr.global_relation_data["rel"].sub(torch.arange(BATCH))
    y = torch.randn(BATCH, 2, requires_grad=True)

    def work():
        y.grad = None
        q = dr.batch_relations["rel"].compute_relations(y).data
        paradime.loss.kullback_leibler_div(p / p.sum(), q).backward()

    return work


def tuned_step(x):
    """The same step as a careful PyTorch user writes it: no loader, sparse rows before columns, one distance product."""
    import scipy.sparse

    index, distances = neighbours(x)
    weights = np.exp(-distances[:, 1:] ** 2 / distances[:, 1:].mean(1, keepdims=True) ** 2)
    offsets = np.arange(0, N * K + 1, K)
    p = scipy.sparse.csr_matrix((weights.ravel(), index[:, 1:].ravel().astype(np.int32), offsets), shape=(N, N))
    p = (p + p.T).tocsr().astype(np.float32)
    layers = [torch.nn.Linear(784, 100), torch.nn.Softplus(), torch.nn.Linear(100, 50), torch.nn.Softplus(),
              torch.nn.Linear(50, 2)]
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    data = torch.tensor(x)
    diagonal = torch.eye(BATCH, dtype=torch.bool)

    def step():
        batch = torch.randperm(N)[:BATCH]
        rows = batch.numpy()
        block = torch.from_numpy(p[rows][:, rows].toarray())
        block = block / block.sum()
        optimizer.zero_grad(set_to_none=True)
        y = net(data[batch])
        norms = (y * y).sum(1)
        squared = (norms[:, None] + norms[None] - 2 * y @ y.t()).clamp_min(0)
        q = (1 / (1 + squared)).masked_fill(diagonal, 0)
        q = q / q.sum()
        loss = (block * ((block + 1e-7).log() - (q + 1e-7).log())).sum() / BATCH
        loss.backward()
        optimizer.step()

    return step


def paradime_umap_step(x):
    """One step of ParaDime's own training loop: 500 edges and 3 random ones for each, 784-100-100-100-2."""
    dr = paradime.dr.ParametricDR(
        in_dim=784, hidden_dims=[100, 100, 100],
        global_relations=paradime.relations.NeighborBasedPDist(transform=[
            paradime.transforms.ConnectivityBasedRescale(n_neighbors=30),
            paradime.transforms.Symmetrize(subtract_product=True)]),
        batch_relations=paradime.relations.DistsFromTo(
            transform=[paradime.transforms.ModifiedCauchyTransform(min_dist=0.1, spread=1)]),
        losses={"main": paradime.loss.RelationLoss(loss_function=paradime.loss.cross_entropy_loss)})
    dr.add_training_phase(batches_per_epoch=10, batch_size=BATCH, sampling="negative_edge", neg_sampling_rate=RATE,
                          loss_keys=["main"], learning_rate=0.01)
    dr.add_data({"main": torch.tensor(x)})
    dr.compute_global_relations()
    phase, relation = dr.training_phases[0], dr.batch_relations["rel"]
    optimizer = torch.optim.Adam(dr.model.parameters(), lr=0.01)
    batches = endless_batches(dr, phase)

    def step():
        batch = next(batches)
        optimizer.zero_grad()
        q = relation.compute_relations(dr.model.embed(batch["from_to_data"])).data
        paradime.loss.cross_entropy_loss(batch["rel"], q).backward()
        optimizer.step()

    return step


def tuned_umap_step(x):
    """The same step as a careful PyTorch user writes it: edges drawn at once, each distinct row embedded once."""
    index, _ = neighbours(x)
    sources = torch.arange(N).repeat_interleave(30)
    targets = torch.tensor(index[:, 1:31].ravel().astype(np.int64))
    sizes = [784, 100, 100, 100, 2]
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.Softplus()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    data = torch.tensor(x)
    label = torch.zeros(BATCH * (RATE + 1))
    label[:: RATE + 1] = 1

    def step():
        edge = torch.randint(0, len(sources), (BATCH,))
        i = sources[edge].repeat_interleave(RATE + 1)
        j = torch.randint(0, N, (BATCH * (RATE + 1),))
        j[:: RATE + 1] = targets[edge]
        rows, place = torch.unique(torch.cat([i, j]), return_inverse=True)
        optimizer.zero_grad(set_to_none=True)
        y = net(data[rows])
        squared = (y[place[: len(i)]] - y[place[len(i) :]]).pow(2).sum(1)
        q = 1 / (1 + 1.577 * (squared + 1e-12).pow(0.895))
        loss = (-label * q.clamp(1e-7, 1).log() - (1 - label) * (1 - q).clamp(1e-7, 1).log()).sum() / len(i)
        loss.backward()
        optimizer.step()

    return step


def autoencoder_step(epoch_of):
    """784-128-2-128-784, squared error, gradient descent; epoch_of() gives an epoch's batches of 64 images."""
    sizes = [(784, 128), (128, 2), (2, 128), (128, 784)]
    first, latent, second, out = (torch.nn.Linear(*size) for size in sizes)
    net = torch.nn.Sequential(first, torch.nn.ReLU(), latent, second, torch.nn.ReLU(), out, torch.nn.Sigmoid())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.25)
    batches = iter(())

    def step():
        nonlocal batches
        rows = next(batches, None)
        if rows is None:
            batches = iter(epoch_of())
            rows = next(batches)
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(net(rows), rows).backward()
        optimizer.step()

    return step


def loader_autoencoder_step(x):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(x)), batch_size=64, shuffle=True)
    return autoencoder_step(lambda: (rows for rows, in loader))


def tuned_autoencoder_step(x):
    """Without a loader: rows of a tensor."""
    data = torch.tensor(x)
    return autoencoder_step(lambda: (data[batch] for batch in torch.randperm(N).split(64)))


def own_tsne_step(x):
    return lambda: ours("bench_phase", f"tsne_step/threads:{args.threads}/")


def paradime_perplexity(x):
    index, distances = neighbours(x)
    transform = paradime.transforms.PerplexityBasedRescale(30, bracket=[1e-3, 1e3])

    def work():
        transform.transform(paradime.relationdata.NeighborRelationTuple((index.copy(), distances.copy())))

    return work


def sklearn_perplexity(x):
    from sklearn.manifold._utils import _binary_search_perplexity

    squared = np.ascontiguousarray(neighbours(x)[1][:, 1:] ** 2)
    return lambda: _binary_search_perplexity(squared, 30, 0)


def paradime_sigma(x):
    index, distances = neighbours(x)
    transform = paradime.transforms.ConnectivityBasedRescale(30)

    def work():
        transform.transform(paradime.relationdata.NeighborRelationTuple((index[:, :31].copy(), distances[:, :31].copy())))

    return work


def numpy_product(x):
    a, w = x[:BATCH], np.random.default_rng(1).random((100, 784), np.float32)
    out = np.empty((BATCH, 100), np.float32)
    return lambda: np.matmul(a, w.T, out=out)


def torch_product(x):
    a, w = torch.tensor(x[:BATCH]), torch.rand(100, 784)
    out = torch.empty(BATCH, 100)
    return lambda: torch.mm(a, w.t(), out=out)


def torch_apply(x):
    net = torch.nn.Sequential(torch.nn.Linear(784, 100), torch.nn.Softplus(), torch.nn.Linear(100, 50),
                              torch.nn.Softplus(), torch.nn.Linear(50, 2))
    data = torch.tensor(x)

    def work():
        with torch.no_grad():
            net(data)

    return work


image_searches = [("scikit-learn", neighbors.scikit_learn, 1, False),
                  ("pynndescent", neighbors.pynndescent(neighbors.IMAGE_NEIGHBORS, args.rival_threads), 1, False)]


def approximate(size, k, rows):
    return ("bench_neighbors", f"approximate/{size}/k:{k}/threads:{args.threads}/", N,
            [("pynndescent", neighbors.pynndescent(k, args.rival_threads, rows), 1, False),
             ("hnswlib", neighbors.hnswlib(k, args.rival_threads, rows), 1, False)])


def made_up_rows(_):
    return neighbors.made_up()


def covertype_rows(_):
    return neighbors.covertype(args.covertype)


# name: (program, benchmark, images that rivals are given, [(rival, factory, repeats a round, needs ParaDime)]);
# 0 repeats: the rival's work says its milliseconds itself
measures = {
    "tsne_step": ("bench_phase", f"tsne_step/threads:{args.threads}/", N,
                  [("ParaDime", paradime_step, 5, True), ("tuned PyTorch", tuned_step, 15, False)]),
    "tsne_step_of_20000": ("bench_phase", f"tsne_step_of_20000/threads:{args.threads}/", MANY,
                           [("ParaDime", paradime_step, 3, True)]),
    "umap_step": ("bench_phase", f"umap_step/threads:{args.threads}/", N,
                  [("ParaDime", paradime_umap_step, 3, True), ("tuned PyTorch", tuned_umap_step, 15, False)]),
    "hybrid_step": ("bench_phase", f"hybrid_step/threads:{args.threads}/", N,
                    [("own t-SNE step", own_tsne_step, 0, False)]),
    "autoencoder_step": ("bench_loop", f"autoencoder_step/threads:{args.threads}/", N,
                         [("DataLoader", loader_autoencoder_step, 158, False),
                          ("tuned PyTorch", tuned_autoencoder_step, 158, False)]),
    "product": ("bench_matmul", f"float/layer_1/500x100x784/threads:{args.threads}/", N,
                [("NumPy, OpenBLAS", numpy_product, 101, False), ("PyTorch, MKL", torch_product, 101, False)]),
    "sub_matrix": ("bench_step", f"sub_matrix/threads:{args.threads}/", N,
                   [("ParaDime", paradime_sub_matrix, 5, True)]),
    "pairs": ("bench_step", f"loss_and_its_gradient/threads:{args.threads}/", N,
              [("ParaDime", paradime_pairs, 9, True)]),
    "perplexity": ("bench_relations", f"perplexity/90/{args.threads}/", N,
                   [("ParaDime", paradime_perplexity, 1, True), ("scikit-learn", sklearn_perplexity, 5, False)]),
    "sigma": ("bench_relations", f"connectivity/30/{args.threads}/", N, [("ParaDime", paradime_sigma, 1, True)]),
    "apply": ("bench_step", f"apply/threads:{args.threads}/", MANY, [("PyTorch", torch_apply, 9, False)]),
    "knn": ("bench_pairs", f"knn/images_5000x784/k:91/threads:{args.threads}/", N,
            image_searches),
    "knn_of_20000": ("bench_pairs", f"knn/images_20000x784/k:91/threads:{args.threads}/", MANY,
                     image_searches),
    "knn_approximate": approximate("100000x50", 15, made_up_rows),
    "knn_approximate_30": approximate("100000x50", 30, made_up_rows),
    "knn_covertype": approximate("92962x10", 15, covertype_rows),
    "knn_covertype_30": approximate("92962x10", 30, covertype_rows),
}

images = mnist(MANY)
before = calibration()
print(f"{'measure':18} {'ours ms':>9} {'rival':>15} {'rival ms':>9} {'ratio':>7} {'range':>15}")
for measure, (program, name, items, rivals) in measures.items():
    if args.only and measure not in args.only.split(","):
        continue
    steps = []
    for rival, factory, repeats, needs_paradime in rivals:
        if needs_paradime and paradime is None:
            print(f"{measure:18} {'':9} {rival:>15}  not installed")
            continue
        try:
            work = factory(images[:items])
        except ImportError:
            print(f"{measure:18} {'':9} {rival:>15}  not installed, or without data")
            continue
        for _ in range(2):
            work()
        steps.append((rival, work, repeats))
    own, theirs = [], {rival: [] for rival, _, _ in steps}
    for _ in range(args.rounds):
        own.append(ours(program, name))
        for rival, work, repeats in steps:
            theirs[rival].append(milliseconds(work, repeats) if repeats else work())
    for rival, _, _ in steps:
        ratios = sorted(r / o for r, o in zip(theirs[rival], own))
        print(f"{measure:18} {statistics.median(own):9.3f} {rival:>15} {statistics.median(theirs[rival]):9.2f} "
              f"{statistics.median(ratios):7.1f} {ratios[0]:7.1f}-{ratios[-1]:.1f}", flush=True)
after = calibration()
drift = after / before - 1
print(f"torch {torch.__version__}, rivals with {args.rival_threads} threads; machine drift {drift:+.0%}"
      + (" (not quiet: run again)" if abs(drift) > 0.1 else ""))
