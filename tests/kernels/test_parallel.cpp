#include <doctest/doctest.h>
#include <flatland/kernels/parallel.h>

#include <stdexcept>
#include <vector>

using namespace flatland;

TEST_CASE("parallel_for runs every task once, on valid threads") {
  for (const int threads : {1, 2, 3, 8}) {
    const kernels::Exec exec(Device::cpu, threads);
    std::vector<int> runs(1000, 0);
    kernels::parallel_for(exec, 1000, [&](std::int64_t i, int thread) {
      runs[static_cast<std::size_t>(i)] += (thread >= 0 && thread < threads) ? 1 : 1000;
    });
    for (const int r : runs) CHECK(r == 1);
  }
}

TEST_CASE("parallel_for rethrows the exception of the lowest failing task") {
  const kernels::Exec exec(Device::cpu, 2);
  try {
    kernels::parallel_for(exec, 100, [](std::int64_t i, int) {
      if (i >= 17) throw std::runtime_error(std::to_string(i));
    });
    FAIL("no exception");
  } catch (const std::runtime_error& error) {
    CHECK(std::string(error.what()) == "17");
  }
}

TEST_CASE("scratch is reused, aligned and stable while it grows") {
  const kernels::Exec exec;
  void* first = nullptr;
  for (int round = 0; round < 3; ++round) {
    const kernels::ScratchArray<float> a(exec, 100);
    a[7] = 42;
    const kernels::ScratchArray<double> b(exec, 1 << 20);
    b[0] = 1;
    CHECK(a[7] == 42);
    CHECK(reinterpret_cast<std::uintptr_t>(b.data()) % 64 == 0);
    if (round == 1) first = a.data();
    if (round == 2) CHECK(a.data() == first);
  }
}
