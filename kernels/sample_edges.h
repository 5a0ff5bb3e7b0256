// Random edges of a graph, with random items set against them, for losses over samples of pairs.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/view.h>

#include <cstdint>
#include <span>

namespace flatland::kernels {

// The alias method (Walker, 1977; Vose, "A linear algorithm for generating random numbers with a given
// distribution", 1991): bucket i, drawn uniformly, gives i with probability threshold[i], else alias[i]; so i
// comes with probability weight[i] / sum, within 2^-23 of it times n.
//   weight, threshold, alias (n), n < 2^31, in host memory
// Errors: a weight that is negative or not finite, all weights 0. Cost: O(n), on one thread.
template <class T>
void alias_table(InSpan<T> weight, std::span<float> threshold, std::span<std::int32_t> alias);

// out[i] = a draw from the table, of draw first + i of the stream.   threshold, alias (n)   out (any)
void sample_items(const Exec& exec, RandomStream random, std::uint64_t first, InSpan<float> threshold,
                  InSpan<std::int32_t> alias, std::span<std::int64_t> out);

// Edges of a graph in compressed rows: entries row_offset[i] .. row_offset[i + 1] - 1 lead from item i to
// col; threshold and alias are their alias table.
struct EdgeTable {
  std::span<const std::int64_t> row_offset;  // (N + 1)
  std::span<const std::int32_t> col;         // (entries)
  std::span<const float> threshold;
  std::span<const std::int32_t> alias;
};

// Draws P edges with replacement, and for each `rate` items to set against its source, uniformly from all N.
//   source (P)   target (P (rate + 1)): places p (rate + 1) ... hold edge p's target, then the other items
// Place s of target takes draw first + s of the stream, so any device finds the same edges.
void sample_edges(const Exec& exec, RandomStream random, std::uint64_t first, const EdgeTable& edges,
                  int rate, std::span<std::int64_t> source, std::span<std::int64_t> target);

// distinct = the distinct values among items, ascending; item[i] = distinct[place[i]].
//   item, place (n), items in [0, count)   distinct (n)
// Behind the distinct ones, distinct[0] fills up. *found, in memory of exec's device, is their number. Cost:
// n + count / 64 steps; on a GPU one block does them, and items out of range are left out, with place 0.
void distinct_items(const Exec& exec, std::span<const std::int64_t> item, std::int64_t count,
                    std::span<std::int64_t> distinct, std::span<std::int64_t> place, std::int64_t* found);

}  // namespace flatland::kernels
