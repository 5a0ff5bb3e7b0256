// The matrix product of one instruction-set level: what matmul.cpp dispatches to, and serial building blocks
// for kernels that want products tile by tile inside their own parallel tasks.
//
// op(b) is repacked into panels: `gemm_panel` columns side by side, k after k, so that the micro-kernel reads
// it in one stream. A panel of op(b) is reused for all rows of op(a), which is read where it stands.
//
// Building block for c = a b^T of a few hundred rows each (kNN): pack the rows of b once, use them for many
// a.
//   T* packed;   // gemm_packed_size<I, T>(n, k) values, 64-byte aligned: a slice of a ScratchArray
//   gemm_pack_rows<I, T>(b, ldb, n, k, packed);                // b (n, k)
//   gemm_rows<I, T>(a, lda, m, packed, n, k, c, ldc);          // a (m, k)   c (m, n) overwritten
// m, n and k may be anything; best where n is a multiple of gemm_panel (64 floats at v4) and m of 24. Each
// c[i,j] is one chain of fma over ascending k from 0, whatever the tile: so the products of tiles equal those
// of matmul, and x x^T comes out symmetric bit by bit.
//
// Where fewer than half of some values of op(a) are not 0, as of images of digits, the chain leaves out its
// zeros (matmul_sparse_simd.h). Values are the same, but the sign of a 0 may not be, and a 0 passes over an
// infinity or NaN that it would have met: then x x^T need not be symmetric.
#pragma once

#include <flatland/kernels/activation.h>
#include <flatland/kernels/exec.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/rows_view.h>
#include <flatland/kernels/simd.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// A panel's width in vectors: with it the sums of a few rows of op(a) fill the registers.
template <Isa I>
inline constexpr int gemm_panel_vectors = I == Isa::v4 ? 4 : 2;
template <Isa I, class T>
inline constexpr std::int64_t gemm_panel = gemm_panel_vectors<I>* lanes<T, I>;

// Values that n packed columns of k rows take.
template <Isa I, class T>
constexpr std::int64_t gemm_packed_size(std::int64_t n, std::int64_t k) {
  return (n + gemm_panel<I, T> - 1) / gemm_panel<I, T> * gemm_panel<I, T> * k;
}

template <Isa I, class T>
void gemm_pack_rows(const T* b, std::int64_t ldb, std::int64_t n, std::int64_t k, T* packed);
template <Isa I, class T>
void gemm_rows(const T* a, std::int64_t lda, std::int64_t m, const T* packed, std::int64_t n, std::int64_t k,
               T* c, std::int64_t ldc);

// c = activation(op(a) op(b) + bias), or c += op(a) op(b). bias: N values or null.
template <class T>
struct GemmEpilogue {
  const T* bias = nullptr;
  Activation activation;
};
template <Isa I, class T>
void gemm(const Exec& exec, Transpose transpose, const RowsView<T>& a, const RowsView<T>& b, MatView<T> c,
          bool accumulate, const GemmEpilogue<T>& epilogue);

}  // namespace flatland::kernels
