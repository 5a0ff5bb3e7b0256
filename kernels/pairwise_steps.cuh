// What the kernels of pairwise distances share (private).
#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/pairwise.h>
#include <flatland/kernels/cuda.cuh>

#include <type_traits>

namespace flatland::kernels::cuda {

inline constexpr int k_pair_threads = 64;  // of a block that takes the pairs of a list

// Where the value of a pair (i, j) stands.
struct PairLayout {
  enum class Kind { rows, columns, condensed };
  Kind kind;
  std::int64_t step;  // from row to row; of a condensed form, the number of items

  __device__ std::int64_t at(std::int64_t i, std::int64_t j) const {
    if (kind == Kind::condensed) return i < j ? condensed_index(step, i, j) : condensed_index(step, j, i);
    return kind == Kind::rows ? i * step + j : j * step + i;
  }
};

template <class F>
void with_term(Term term, F&& f) {
  switch (term) {
    case Term::squares:
      return f(std::integral_constant<Term, Term::squares>{});
    case Term::absolutes:
      return f(std::integral_constant<Term, Term::absolutes>{});
    case Term::maximum:
      return f(std::integral_constant<Term, Term::maximum>{});
    case Term::powers:
      break;
  }
  f(std::integral_constant<Term, Term::powers>{});
}

// The rows that stand on one side of the distances: as they are, or their unit rows.
template <class T>
class PairSide {
 public:
  PairSide(const Exec& exec, const DistanceForm& form, MatView<const T> x);
  // For distances.
  MatView<const T> rows() const { return unit_ ? unit_rows(x_.cols + 1) : x_; }
  // For gradients: without the column that tells rows of zeros from others.
  MatView<const T> coordinates() const { return unit_ ? unit_rows(x_.cols) : x_; }
  // Of the unit rows.
  const T* scale() const { return scale_.data(); }

 private:
  MatView<const T> unit_rows(std::int64_t cols) const { return {values_.data(), x_.rows, cols, x_.cols + 1}; }

  MatView<const T> x_;
  bool unit_;
  ScratchArray<T> scale_;
  ScratchArray<T> values_;
};

}  // namespace flatland::kernels::cuda
