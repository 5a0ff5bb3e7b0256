// What tests ask of the layer itself. Only for tests that know they run on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace cuda_on_cpu {

// A kernel did what would be wrong on a GPU; what() names the kernel, block, thread and what to look for.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The order in which blocks, and the threads of a block, get their first turn.
struct Order {
  enum Kind { ascending, reverse, shuffled } kind = ascending;
  std::uint64_t seed = 0;
};
void set_order(Order order);  // overrides FLATLAND_CUDA_ORDER
Order order();

// Does work only when something waits for it, as a busy GPU may; overrides FLATLAND_CUDA_LATE.
void set_late(bool late);

// Device memory there is (4 GiB at first); what is given out stays.
void set_memory(std::size_t bytes);

// How many devices there are (1 at first); 0: as without a GPU.
void set_device_count(int count);

// Calls since the program's start.
struct Counts {
  std::int64_t launches = 0;          // kernels run, in replayed graphs too
  std::int64_t graph_launches = 0;    // cudaGraphLaunch
  std::int64_t allocations = 0;       // cudaMalloc
  std::int64_t synchronizations = 0;  // waiting for device, stream or event; copies that wait
};
const Counts& counts();

}  // namespace cuda_on_cpu
