// What training takes at most, measured. Linux only, and without sanitizers, which hold memory of their own.
#include <doctest/doctest.h>
#include <flatland/dr/memory_estimate.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/pool.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <fstream>
#include <string>

using namespace flatland;
using namespace flatland::test;

namespace {

// VmRSS: bytes of memory that the process has now. VmHWM: the most since `forget_peak`.
std::int64_t memory_of_process(const std::string& what) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kilobytes = 0;
    if (word == what + ":" && status >> kilobytes) return kilobytes * 1024;
  }
  FAIL("/proc/self/status has no ", what);
  return 0;
}
void forget_peak() {
  std::ofstream("/proc/self/clear_refs") << 5;
  REQUIRE(memory_of_process("VmHWM") < memory_of_process("VmRSS") + (1 << 20));
}

// What the allocator keeps for later, which the next work would find.
void give_back() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// Bytes that `work` takes at most.
template <class F>
std::int64_t peak_of(F work) {
  release_cached_memory();
  give_back();
  forget_peak();
  const std::int64_t before = memory_of_process("VmRSS");
  work();
  return memory_of_process("VmHWM") - before;
}

void compare(const std::string& name, std::int64_t measured, std::int64_t estimate) {
  CAPTURE(name);
  const double ratio = static_cast<double>(estimate) / static_cast<double>(measured);
  MESSAGE("", name, ": ", measured / 1000, " kB measured, estimate ", estimate / 1000, " kB, ", ratio);
  CHECK(ratio > 0.77);
  CHECK(ratio < 1.3);
}

}  // namespace

TEST_CASE("the peak of a training is within 30 % of its estimate") {
  {  // what a process takes once
    ParametricTSNE warm({.in_dim = 3, .epochs = 1, .init_epochs = 1});
    warm.train(Dataset(random_tensor({200, 3}, 1)));
  }
  for (const auto& [n, dim] : {std::pair{20'000, 10}, {20'000, 200}, {60'000, 10}}) {
    const Tensor x = random_tensor({n, dim}, 2);
    const auto measured = [&](auto&& routine) {
      return peak_of([&] { routine.train(Dataset(x)); }) + x.numel() * std::int64_t{4};
    };
    const ParametricTSNE::Options tsne{
        .in_dim = dim, .perplexity = 20, .epochs = 1, .init_epochs = 1, .threads = 2};
    compare("t-SNE", measured(ParametricTSNE(tsne)), estimate_memory(n, tsne).peak());
    const ParametricUMAP::Options umap{.in_dim = dim,
                                       .n_neighbors = 15,
                                       .epochs = 1,
                                       .init_epochs = 1,
                                       .batch_size = 500,
                                       .batches_per_epoch = 5,
                                       .threads = 2};
    compare("UMAP", measured(ParametricUMAP(umap)), estimate_memory(n, umap).peak());
  }
}

TEST_CASE("the peak of an approximate search is within 30 % of its estimate") {
  constexpr std::int64_t n = 40'000;
  for (const auto& [dim, k] : {std::pair{300, 15}, {3, 60}, {3, 15}}) {
    // On a plane of four dimensions: where items have no near ones, an approximate search is an exact one.
    const Dataset data(matmul(random_tensor({n, 4}, 2), random_tensor({4, dim}, 3)));
    for (const NeighborSearch search : {NeighborSearch::approximate, NeighborSearch::exact}) {
      ParametricDR routine(
          {.model = FullyConnectedEmbedder({.in_dim = dim}),
           .global_relations =
               NeighborBasedPDist{.n_neighbors = k, .transforms = {Symmetrize{}}, .search = search},
           .losses = PositionLoss{.position_key = "main"},
           .threads = 2});
      compare(search == NeighborSearch::exact ? "exact" : "approximate",
              peak_of([&] { routine.prepare(data); }),
              estimate_memory(n, dim, k, {.start = false, .threads = 2, .search = search}).setup);
    }
  }
}

TEST_CASE("preparing leaves no scratch memory behind") {
  const ParametricTSNE::Options options{.in_dim = 50, .epochs = 1, .init_epochs = 1, .threads = 2};
  const Dataset data(random_tensor({20'000, 50}, 3));
  ParametricTSNE routine(options);
  release_cached_memory();
  give_back();
  const std::int64_t before = memory_of_process("VmRSS");
  routine.prepare(data);
  give_back();
  const std::int64_t left = memory_of_process("VmRSS") - before;
  const std::int64_t entries = at(routine.global_relation_data(), "rel").values().numel();
  CHECK(left < entries * 8 + (6 << 20));
}

TEST_CASE("a routine that finds too little memory says how much it takes") {
  constexpr std::int64_t n = 8'000'000;  // all neighbours of all items: 256 TB, more than can be addressed
  ParametricDR routine({.model = FullyConnectedEmbedder({.in_dim = 1}),
                        .global_relations = NeighborBasedPDist{.n_neighbors = n},
                        .losses = PositionLoss{.position_key = "main"}});
  const Dataset data(Tensor::zeros({n, 1}, Dtype::float32));
  const std::string text = error_of([&] { routine.prepare(data); });
  CHECK(contains(text, "cpu has no 255999968000000 bytes left; use smaller batches or fewer items. "));
  CHECK(contains(
      text, "8000000 items of 1 columns with 7999999 neighbours each take some 2e+06 GB (estimate_memory)"));
}
