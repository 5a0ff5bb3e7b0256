// What errors say.
#include "scheduler.h"

#include <cuda_on_cpu/control.h>

#include <algorithm>
#include <bit>
#include <sstream>

namespace cuda_on_cpu {

namespace {

template <class Index>
std::string triple(const Index& i) {
  std::ostringstream text;
  text << '(' << i.x << ',' << i.y << ',' << i.z << ')';
  return text.str();
}

// "0-3, 7"
std::string ranges(const std::vector<int>& numbers) {
  std::ostringstream text;
  for (std::size_t first = 0, last; first < numbers.size(); first = last + 1) {
    last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text << (first == 0 ? "" : ", ") << numbers[first];
    if (last > first) text << '-' << numbers[last];
  }
  return text.str();
}

std::vector<int> bits_of(unsigned lanes, int offset = 0) {
  std::vector<int> numbers;
  for (; lanes != 0; lanes &= lanes - 1) numbers.push_back(offset + std::countr_zero(lanes));
  return numbers;
}

std::string line_of(const Where& where) {
  const std::string file = where.file;
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line);
}

const char* name_of(Barrier kind) {
  constexpr const char* names[] = {"__syncthreads", "__syncthreads_or", "__syncthreads_and",
                                   "__syncthreads_count"};
  return names[static_cast<int>(kind)];
}
const char* name_of(WarpOp op) {
  constexpr const char* names[] = {"__syncwarp",  "__ballot_sync",  "__any_sync",       "__all_sync",
                                   "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync"};
  return names[static_cast<int>(op)];
}

}  // namespace

std::string Scheduler::thread_name(int thread) const {
  return "thread " + triple(threads_[static_cast<std::size_t>(thread)].index);
}

std::string Scheduler::place() const {
  if (launch_ == nullptr) return "the host";
  return "kernel " + kernel_name(launch_->kernel) + ", block " + triple(blockIdx) + ", " +
         thread_name(current_);
}

void Scheduler::fail(const std::string& what) const {
  throw Error(place() + " " + what);
}

std::string Scheduler::group_report(int w, const Group& group) const {
  const Warp& warp = warps_[static_cast<std::size_t>(w)];
  const std::vector<int> waiting = bits_of(group.arrived, 32 * w);
  const unsigned missing = group.mask & ~warp.exited & ~group.arrived;
  std::ostringstream text;
  text << "\n  threads " << ranges(waiting) << " at " << name_of(group.op) << " ("
       << line_of(threads_[static_cast<std::size_t>(waiting.front())].where) << ", mask 0x" << std::hex
       << group.mask << std::dec << ") for lanes " << ranges(bits_of(missing)) << " of warp " << w;
  return text.str();
}

// All that are alive wait, and nobody can release them.
std::string Scheduler::deadlock() const {
  std::ostringstream text;
  text << "kernel " << kernel_name(launch_->kernel) << ", block " << triple(blockIdx)
       << ": these threads wait for ever (numbered with x fastest):";
  for (std::size_t w = 0; w < warps_.size(); ++w)
    for (const Group& group : warps_[w].groups) text << group_report(static_cast<int>(w), group);
  if (!at_barrier_.empty()) {
    std::vector<int> waiting = at_barrier_;
    std::sort(waiting.begin(), waiting.end());
    text << "\n  threads " << ranges(waiting) << " at " << name_of(barrier_kind_) << " ("
         << line_of(threads_[static_cast<std::size_t>(waiting.front())].where) << ") for the "
         << live_ - static_cast<int>(waiting.size()) << " others that have not exited";
  }
  return text.str();
}

Segment segment(WarpOp op, int width, const Where& where) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0)
    throw Error(Scheduler::instance().place() + " calls " + name_of(op) + " (" + line_of(where) +
                ") with width " + std::to_string(width) + "; it must be 1, 2, 4, 8, 16 or 32");
  const int first = now.lane & ~(width - 1);
  return {now.lane, first, first + width - 1};
}

SharedMemory::SharedMemory(const void* key, const char* name, std::size_t count, std::size_t element_bytes)
    : key_(key),
      name_(name),
      element_bytes_(element_bytes),
      shadow_(count),
      data_(new std::byte[count * element_bytes]) {}

namespace {
std::string accessors(const Accesses& accesses) {
  if (accesses.warp == Accesses::many) return "threads of several warps";
  if (std::has_single_bit(accesses.lanes))
    return Scheduler::instance().thread_name(32 * accesses.warp + std::countr_zero(accesses.lanes));
  return "lanes " + ranges(bits_of(accesses.lanes)) + " of warp " + std::to_string(accesses.warp);
}
}  // namespace

void SharedMemory::fault(SharedFault kind, std::int64_t i) const {
  std::ostringstream text;
  text << Scheduler::instance().place() << ": shared memory " << name_ << '[' << i << "]: ";
  if (kind == SharedFault::index) {
    text << "the index is outside; it has " << shadow_.size() << " elements";
    throw Error(text.str());
  }
  const Shadow& shadow = shadow_[static_cast<std::size_t>(i)];
  switch (kind) {
    case SharedFault::index:
      break;
    case SharedFault::unwritten:
      text << "read, but no thread of this block has written it";
      break;
    case SharedFault::read_race:
      text << "read, but " << accessors(shadow.written) << " wrote it since the last barrier";
      break;
    case SharedFault::write_race:
      text << "written, but " << accessors(shadow.written) << " wrote it since the last barrier";
      break;
    case SharedFault::write_after_read:
      text << "written, but " << accessors(shadow.read) << " read it since the last barrier";
      break;
  }
  if (kind != SharedFault::unwritten)
    text << " (__syncthreads, or __syncwarp within a warp; shuffles order nothing)";
  throw Error(text.str());
}

}  // namespace cuda_on_cpu
