// Sums in sum.cu.
#pragma once

namespace flatland::test {

// sums[b]: the sum of the values that block b of `blocks` takes; `threads` is a multiple of 32. 0 or CUDA's
// error.
template <class T>
int sum_by_blocks(const T* x, int n, T* sums, unsigned blocks, unsigned threads);

}  // namespace flatland::test
