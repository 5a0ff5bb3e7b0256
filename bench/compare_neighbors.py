"""Rival searches for neighbours, for compare.py: each function gives what makes the work of a round from the images."""
import numpy as np

IMAGE_NEIGHBORS = 90


def scikit_learn(images):
    from sklearn.neighbors import NearestNeighbors

    return lambda: NearestNeighbors(n_neighbors=IMAGE_NEIGHBORS + 1, algorithm="brute").fit(images).kneighbors(images)


def made_up():
    """The kind of data that bench_neighbors makes up."""
    random = np.random.default_rng(2)
    loading = random.uniform(-0.5, 0.5, (20, 50))
    factor = random.uniform(size=(100000, 20)) + random.uniform(size=(100000, 20)) - 1
    return np.maximum(0, 0.1 * random.uniform(size=(100000, 50)) + factor @ loading).astype(np.float32)


def covertype(path):
    if not path:
        raise ImportError("no data")
    return np.genfromtxt(path, delimiter=",", skip_header=1, usecols=range(10)).astype(np.float32)


def pynndescent(k, threads, rows=lambda images: images):
    def work_of(images):
        from pynndescent import NNDescent  # it compiles in the rounds before timing

        x = rows(images)
        return lambda: NNDescent(x, n_neighbors=k + 1, n_jobs=threads, random_state=1)  # each item is its own first

    return work_of


def hnswlib(k, threads, rows):
    """An index and all queries, at settings that find about as many neighbours as ours."""

    def work_of(images):
        from hnswlib import Index

        x = rows(images)

        def work():
            index = Index(space="l2", dim=x.shape[1])
            index.init_index(max_elements=len(x), M=8, ef_construction=60, random_seed=1)
            index.set_num_threads(threads)
            index.add_items(x)
            index.set_ef(max(40, k + 10))
            return index.knn_query(x, k=k + 1)

        return work

    return work_of
