// Rows by index. On CUDA indices are not checked: a row for an index out of range is all zeros when gathered
// and left out when scattered.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// y[i,:] = x[index[i],:].   x (N, M)   index (B), each in [0, N), else Error naming the position   y (B, M)
template <class T>
void gather_rows(const Exec& exec, MatView<const T> x, std::span<const std::int64_t> index, Out<T> y);

// x[index[i],:] += y[i,:], repeated indices in ascending order of i (the same bits for any number of
// threads).
//   y (B, M)   index (B)   x (N, M)
template <class T>
void scatter_add_rows(const Exec& exec, MatView<const T> y, std::span<const std::int64_t> index, Out<T> x);

// The rows of x that are among index and longer than max_norm are multiplied by max_norm / (norm + 1e-7),
// once each (PyTorch's embedding_renorm_). On a GPU all of index is read for each row of x, 32 entries at a
// time.
//   x (N, M)   index (B), each in [0, N), else Error naming the position
template <class T>
void renormalize_rows(const Exec& exec, double max_norm, std::span<const std::int64_t> index, MatView<T> x);

}  // namespace flatland::kernels
