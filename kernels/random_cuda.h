#pragma once

#include <flatland/kernels/random.h>

namespace flatland::kernels::cuda {

template <class T>
void fill_uniform(const Exec& exec, RandomStream random, double low, double width, std::span<T> y,
                  std::uint64_t first);
template <class T>
void fill_normal(const Exec& exec, RandomStream random, double mean, double deviation, std::span<T> y,
                 std::uint64_t first);
void random_permutation(const Exec& exec, RandomStream random, std::span<std::int64_t> permutation,
                        std::uint64_t first);

}  // namespace flatland::kernels::cuda
