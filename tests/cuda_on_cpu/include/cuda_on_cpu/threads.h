// A kernel's view of its thread: indices, barriers, shuffles and votes.
#pragma once

#include <cuda_on_cpu/vector_types.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

// Of the thread that runs now.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace cuda_on_cpu {

// Where in the sources a call stands (clang 14 has no std::source_location).
struct Where {
  const char* file;
  int line;
  constexpr Where(const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : file(file), line(line) {}
};

enum class Barrier { plain, any, all, count };
enum class WarpOp { sync, ballot, any, all, shfl, shfl_up, shfl_down, shfl_xor };

// Waits for the block; the answer that `kind` asks for about its threads' predicates.
int block_barrier(Barrier kind, bool predicate, const Where& where);

// Waits for the lanes of the mask. Votes: a bit for each lane whose value is not 0. Shuffles: the value of
// lane `source`.
std::uint64_t warp_wait(WarpOp op, unsigned mask, std::uint64_t value, int source, const Where& where);

// The calling thread's lane, and the first and last lane of its group in shuffles of that width.
struct Segment {
  int lane, first, last;
};
Segment segment(WarpOp op, int width, const Where& where);

template <class T>
T shuffle(WarpOp op, unsigned mask, T value, int source, const Where& where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "CUDA shuffles words of 4 or 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_wait(op, mask, bits, source, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace cuda_on_cpu

inline void __syncthreads(const cuda_on_cpu::Where& where = {}) {
  cuda_on_cpu::block_barrier(cuda_on_cpu::Barrier::plain, false, where);
}
inline int __syncthreads_or(int predicate, const cuda_on_cpu::Where& where = {}) {
  return cuda_on_cpu::block_barrier(cuda_on_cpu::Barrier::any, predicate != 0, where);
}
inline int __syncthreads_and(int predicate, const cuda_on_cpu::Where& where = {}) {
  return cuda_on_cpu::block_barrier(cuda_on_cpu::Barrier::all, predicate != 0, where);
}
inline int __syncthreads_count(int predicate, const cuda_on_cpu::Where& where = {}) {
  return cuda_on_cpu::block_barrier(cuda_on_cpu::Barrier::count, predicate != 0, where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, const cuda_on_cpu::Where& where = {}) {
  cuda_on_cpu::warp_wait(cuda_on_cpu::WarpOp::sync, mask, 0, 0, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, const cuda_on_cpu::Where& where = {}) {
  return static_cast<unsigned>(
      cuda_on_cpu::warp_wait(cuda_on_cpu::WarpOp::ballot, mask, predicate != 0, 0, where));
}
inline int __any_sync(unsigned mask, int predicate, const cuda_on_cpu::Where& where = {}) {
  return cuda_on_cpu::warp_wait(cuda_on_cpu::WarpOp::any, mask, predicate != 0, 0, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const cuda_on_cpu::Where& where = {}) {
  return cuda_on_cpu::warp_wait(cuda_on_cpu::WarpOp::all, mask, predicate == 0, 0, where) == 0;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
              const cuda_on_cpu::Where& where = {}) {
  const auto group = cuda_on_cpu::segment(cuda_on_cpu::WarpOp::shfl, width, where);
  const int from = group.first + (source & (width - 1));
  return cuda_on_cpu::shuffle(cuda_on_cpu::WarpOp::shfl, mask, value, from, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                 const cuda_on_cpu::Where& where = {}) {
  const auto group = cuda_on_cpu::segment(cuda_on_cpu::WarpOp::shfl_up, width, where);
  const int from = group.lane - static_cast<int>(delta);
  return cuda_on_cpu::shuffle(cuda_on_cpu::WarpOp::shfl_up, mask, value,
                              from < group.first ? group.lane : from, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   const cuda_on_cpu::Where& where = {}) {
  const auto group = cuda_on_cpu::segment(cuda_on_cpu::WarpOp::shfl_down, width, where);
  const int from = group.lane + static_cast<int>(delta);
  return cuda_on_cpu::shuffle(cuda_on_cpu::WarpOp::shfl_down, mask, value,
                              from > group.last ? group.lane : from, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize,
                  const cuda_on_cpu::Where& where = {}) {
  const auto group = cuda_on_cpu::segment(cuda_on_cpu::WarpOp::shfl_xor, width, where);
  const int from = group.lane ^ lanes;
  return cuda_on_cpu::shuffle(cuda_on_cpu::WarpOp::shfl_xor, mask, value,
                              from > group.last ? group.lane : from, where);
}
