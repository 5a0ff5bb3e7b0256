#include <doctest/doctest.h>
#include <flatland/engine/autograd.h>
#include <flatland/engine/pool.h>
#include <flatland/engine/tensor.h>

#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/errors.h"

using namespace flatland;
using test::contains;
using test::error_of;

TEST_CASE("tensors are created with shape, type and values") {
  const Tensor a = Tensor::of({{1, 2, 3}, {4, 5, 6}});
  CHECK(a.shape() == Shape{2, 3});
  CHECK(a.dtype() == Dtype::float32);
  CHECK(a.at(1, 2) == 6);
  CHECK(a.at(3) == 4);
  CHECK(reinterpret_cast<std::uintptr_t>(a.data<float>()) % 64 == 0);
  CHECK(Tensor::zeros({3}, Dtype::int32).to_vector<int>() == std::vector<int>{0, 0, 0});
  CHECK(Tensor::ones({2}, Dtype::float64).to_vector<double>() == std::vector<double>{1, 1});
  CHECK(Tensor::full({2}, 7, Dtype::int64).to_vector<float>() == std::vector<float>{7, 7});
  CHECK(Tensor::scalar(2.5).item() == 2.5);
  CHECK(Tensor::scalar(2.5).rank() == 0);
  CHECK(Tensor::arange(4).to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 2, 3});
  CHECK(Tensor::from({1.5, 2.5}).dtype() == Dtype::float64);
  CHECK(Tensor::from({1, 2, 3, 4, 5, 6}).dtype() == Dtype::int32);
  CHECK(Tensor::empty({0, 5}).numel() == 0);
  CHECK(Tensor::of({{1, 2}}, Dtype::float64).dtype() == Dtype::float64);
}

TEST_CASE("tensors are seen as matrices") {
  Tensor a = Tensor::zeros({2, 3, 4});
  CHECK(a.matrix<float>().rows == 6);
  CHECK(a.matrix<float>().cols == 4);
  CHECK(Tensor::zeros({5}).matrix<float>().rows == 1);
  CHECK(Tensor::scalar(1).matrix<float>().cols == 1);
  a.mutable_matrix<float>()(5, 3) = 9;
  CHECK(a.at(23) == 9);
}

TEST_CASE("copies are named; detach shares values") {
  Tensor a = Tensor::of({{1, 2}, {3, 4}});
  const Tensor b = a.clone();
  const Tensor c = a.detach();
  const Tensor same = a.to(Device::cpu).to(Dtype::float32);
  a.mutable_data<float>()[0] = 10;
  CHECK(b.at(0) == 1);
  CHECK(c.at(0) == 10);
  CHECK(same.impl() == a.impl());
  Tensor d = Tensor::zeros({2, 2});
  d.copy_from(a);
  CHECK(d.at(0) == 10);
  d.fill(3);
  CHECK(d.at(3) == 3);
  CHECK(a.to(Dtype::int32).to_vector<int>() == std::vector<int>{10, 2, 3, 4});
}

TEST_CASE("misuse of a tensor says who, got, want and what to do") {
  Tensor a = Tensor::of({{1, 2}, {3, 4}});
  CHECK(contains(error_of([&] { a.data<double>(); }),
                 "asked for float64 values of a tensor (2, 2) of float32"));
  CHECK(contains(error_of([&] { a.item(); }), "(2, 2) is not a single value"));
  CHECK(contains(error_of([&] { a.at(4); }), "no value 4"));
  CHECK(contains(error_of([&] { a.at(2, 0); }), "no value (2, 0)"));
  CHECK(contains(error_of([&] { a.copy_from(Tensor::zeros({4})); }), "copy_from: got (4)"));
  CHECK(contains(error_of([&] { Tensor().shape(); }), "undefined"));
  CHECK(contains(error_of([&] { Tensor::of({{1, 2}, {3}}); }), "rows must be equally long"));
  if (best_device() == Device::cpu)
    CHECK(contains(error_of([&] {
                     Tensor::from({1.f, 2.f}).to(Device::cuda);
                   }),
                   "device cuda cannot be used"));
  CHECK(contains(error_of([&] { Tensor::zeros({2}, Dtype::int64).requires_grad(true); }),
                 "float32 or float64"));
  CHECK(contains(error_of([&] { Tensor::from(std::vector<float>{1, 2, 3}, {2, 2}); }), "3 values"));
  CHECK(contains(error_of([&] { Tensor::zeros({1, 2, 3, 4, 5}); }), "at most 4"));
  CHECK(contains(error_of([&] {
                   Tensor::zeros({std::int64_t{1} << 40, std::int64_t{1} << 40});
                 }),
                 "64 bits"));
}

TEST_CASE("a tensor prints shape, type and first values") {
  std::ostringstream os;
  os << Tensor::of({{1, 2.5}}) << '|' << Tensor() << '|' << Tensor::arange(9);
  CHECK(os.str() == "(1, 2) of float32 [1, 2.5]|undefined|(9) of int64 [0, 1, 2, 3, 4, 5, ...]");
}

TEST_CASE("the pool hands freed memory out again and gives it back on request") {
  release_cached_memory();
  const MemoryUse before = memory_use();
  const void* first = nullptr;
  {
    const Tensor a = Tensor::zeros({1000, 10});
    first = a.data<float>();
    CHECK(memory_use().in_use >= before.in_use + 40000);
  }
  CHECK(memory_use().in_use == before.in_use);
  CHECK(memory_use().cached >= 40000);
  {
    const Tensor b = Tensor::empty({10, 999});
    CHECK(b.data<float>() == first);
  }
  const std::uint64_t calls = memory_use().system_allocations;
  for (int i = 0; i < 100; ++i) Tensor::zeros({1000, 10});
  CHECK(memory_use().system_allocations == calls);
  CHECK(release_cached_memory() >= 40000);
  CHECK(memory_use().cached == 0);
}

TEST_CASE("the pool serves every size, aligned, without overlap, from several threads") {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      std::vector<Tensor> living;
      for (int i = 0; i < 300; ++i) {
        Tensor a = Tensor::full({(i * 37 + t * 101) % 5000}, t * 1000 + i);
        living.push_back(a);
        if (i % 3 == 0) living.erase(living.begin());
      }
      for (const Tensor& a : living) {
        for (const float v : a.values<float>()) REQUIRE(v == a.at(0));
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST_CASE("ExecScope sets what the ops of this thread run on") {
  kernels::Exec one(Device::cpu, 1);
  kernels::Exec* usual = &current_exec();
  {
    const ExecScope scope(one);
    CHECK(&current_exec() == &one);
    kernels::Exec three(Device::cpu, 3);
    {
      const ExecScope inner(three);
      CHECK(current_exec().threads() == 3);
    }
    CHECK(&current_exec() == &one);
    std::thread([&] { CHECK(&current_exec() != &one); }).join();
  }
  CHECK(&current_exec() == usual);
}

TEST_CASE("NoGrad nests") {
  CHECK(grad_enabled());
  {
    const NoGrad outer;
    { const NoGrad inner; }
    CHECK(!grad_enabled());
  }
  CHECK(grad_enabled());
}
