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

TEST_CASE("one team serves many parallel_for calls, with the results of the calls alone") {
  for (const int threads : {1, 2, 3, 8}) {
    const kernels::Exec exec(Device::cpu, threads);
    std::vector<std::int64_t> sums(64, 0);
    kernels::with_team(exec, [&] {
      for (std::int64_t job = 0; job < 2000; ++job) {
        const std::int64_t n = job % 64;
        kernels::parallel_for(exec, n, [&](std::int64_t i, int thread) {
          sums[static_cast<std::size_t>(i)] += thread < threads ? job : 1'000'000'000;
        });
      }
    });
    for (std::int64_t i = 0; i < 64; ++i) {
      std::int64_t want = 0;
      for (std::int64_t job = 0; job < 2000; ++job) want += job % 64 > i ? job : 0;
      CHECK(sums[static_cast<std::size_t>(i)] == want);
    }
  }
}

TEST_CASE("an exception leaves the team in order") {
  const kernels::Exec exec(Device::cpu, 3);
  CHECK_THROWS_WITH(kernels::with_team(exec, [&] { throw std::runtime_error("body"); }), "body");
  kernels::with_team(exec, [&] {
    for (int round = 0; round < 100; ++round) {
      CHECK_THROWS_WITH(kernels::parallel_for(exec, 50,
                                              [](std::int64_t i, int) {
                                                if (i % 10 == 7) throw std::runtime_error(std::to_string(i));
                                              }),
                        "7");
    }
  });
}

TEST_CASE("a call from inside a task, and one with fewer threads than the team, run serially") {
  const kernels::Exec exec(Device::cpu, 4);
  const kernels::Exec two(Device::cpu, 2);
  std::vector<int> inner(16 * 16, 0);
  int with_two = 0;
  kernels::with_team(exec, [&] {
    kernels::with_team(exec, [&] {
      kernels::parallel_for(exec, 16, [&](std::int64_t i, int) {
        kernels::parallel_for(exec, 16, [&](std::int64_t j, int thread) {
          inner[static_cast<std::size_t>(i * 16 + j)] += thread == 0 ? 1 : 100;
        });
      });
    });
    kernels::parallel_for(two, 100, [&](std::int64_t, int thread) { with_two += thread == 0 ? 1 : 1000; });
  });
  for (const int count : inner) CHECK(count == 1);
  CHECK(with_two == 100);
}
