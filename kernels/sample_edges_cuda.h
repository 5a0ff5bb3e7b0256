#pragma once

#include <flatland/kernels/sample_edges.h>

namespace flatland::kernels::cuda {

void sample_items(const Exec& exec, RandomStream random, std::uint64_t first,
                  std::span<const float> threshold, std::span<const std::int32_t> alias,
                  std::span<std::int64_t> out);
void sample_edges(const Exec& exec, RandomStream random, std::uint64_t first, const EdgeTable& edges,
                  int rate, std::span<std::int64_t> source, std::span<std::int64_t> target);
void distinct_items(const Exec& exec, std::span<const std::int64_t> item, std::int64_t count,
                    std::span<std::int64_t> distinct, std::span<std::int64_t> place, std::int64_t* found);

}  // namespace flatland::kernels::cuda
