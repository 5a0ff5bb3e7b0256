// A steady training step asks the system for no memory: operator new is counted in this whole program.
#include <doctest/doctest.h>
#include <flatland/engine/layers.h>
#include <flatland/engine/optim.h>
#include <flatland/engine/pool.h>
#include <flatland/engine/relation_ops.h>
#include <tests/support/devices.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/random_tensor.h"

namespace {

std::atomic<long> g_allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  ++g_allocations;
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  return std::aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
}
void* counted_or_throw(std::size_t size, std::size_t alignment) {
  if (void* p = counted(size, alignment)) return p;
  throw std::bad_alloc();
}
constexpr std::size_t k_default = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

// The array forms end up here too.
void* operator new(std::size_t n) {
  return counted_or_throw(n, k_default);
}
void* operator new(std::size_t n, std::align_val_t a) {
  return counted_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return counted(n, k_default);
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return counted(n, static_cast<std::size_t>(a));
}
// Not inlined, or gcc sees free() beside operator new and warns.
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}

using namespace flatland;

namespace {

// Chain 0 - 1 - ... - (n - 1) of equal affinities.
SparseBlock chain(std::int64_t n) {
  std::vector<std::int64_t> begin, end;
  std::vector<std::int32_t> col;
  for (std::int64_t i = 0; i < n; ++i) {
    begin.push_back(static_cast<std::int64_t>(col.size()));
    if (i > 0) col.push_back(static_cast<std::int32_t>(i - 1));
    if (i + 1 < n) col.push_back(static_cast<std::int32_t>(i + 1));
    end.push_back(static_cast<std::int64_t>(col.size()));
  }
  const Tensor value =
      Tensor::full({static_cast<std::int64_t>(col.size())}, 1.0 / static_cast<double>(col.size()));
  return {n, Tensor::from(begin), Tensor::from(end), Tensor::from(col), value};
}

}  // namespace

TEST_CASE("the count sees allocations") {
  const long before = g_allocations;
  int* volatile p = new int(1);  // what is never read, compilers may leave out
  delete p;
  CHECK(g_allocations == before + 1);
}

TEST_CASE("a steady training step allocates nothing") {
  constexpr std::int64_t n = 96;
  const Tensor data = test::random_tensor({500, 30}, -1, 1, 1, Dtype::float32);
  const Tensor target = test::random_tensor({n, 2}, -1, 1, 2, Dtype::float32);
  Tensor labels = Tensor::zeros({n}, Dtype::int64);
  const SparseBlock p = chain(n);
  const Tensor dense = Tensor::full({n, n}, 1.0 / (n * n));
  Sequential net({30, 40, 20, 2}, activation::softplus);
  const auto adam = make_optimizer(Adam{}, tensors_of(net.parameters()), 0.01);
  const auto sgd = make_optimizer(SGD{.momentum = 0.9}, tensors_of(net.parameters()), 0.001);
  Tensor index = Tensor::arange(n);
  for (const int threads : {1, 2}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    long counted_steps = 0;
    for (int step = 0; step < 20; ++step) {
      const long before = g_allocations;
      for (std::int64_t& i : index.mutable_values<std::int64_t>()) i = (i * 7 + step) % 500;
      const Tensor y = net.forward(gather_rows(data, index));
      const Tensor q = condensed_to_square(student_t(pdist(y)), n);
      const Tensor kl = kl_divergence(dense, q / sum(q));
      const Tensor loss =
          kl_student_t(y, p) + 0.5 * mse_loss(y, target) + 0.1 * kl + cross_entropy(y, labels);
      adam->zero_grad();
      loss.backward();
      adam->step();
      sgd->step();
      if (step >= 10) {
        CHECK(g_allocations - before == 0);
        ++counted_steps;
      }
    }
    CHECK(counted_steps == 10);
  }
}

TEST_CASE("a steady step of losses, layers and bounds allocates nothing") {
  constexpr std::int64_t n = 64;
  kernels::Exec exec(Device::cpu, 2);
  const ExecScope scope(exec);
  const Tensor x = test::random_tensor({n, 12}, -1, 1, 1, Dtype::float32);
  Tensor index = Tensor::zeros({n}, Dtype::int64);
  Sequential net({std::make_shared<Linear>(12, 30), std::make_shared<ActivationLayer>(activation::elu()),
                  std::make_shared<Dropout>(0.2), std::make_shared<Linear>(30, 3)});
  const Embedding table(5, 3, {.padding_idx = 1, .max_norm = 1});
  std::vector<Tensor> parameters = tensors_of(net.parameters());
  const auto optimizer =
      make_optimizer(RMSprop{.momentum = 0.9, .centered = true},
                     std::vector<ParameterGroup>{{.parameters = parameters},
                                                 {.parameters = {table.weight}, .learning_rate = 0.1}},
                     0.01);
  parameters.push_back(table.weight);
  for (int step = 0; step < 20; ++step) {
    const long before = g_allocations;
    for (std::int64_t& i : index.mutable_values<std::int64_t>()) i = (i + 3) % 5;
    const Tensor y = net.forward(x), t = table.forward(index);
    const Tensor loss = gaussian_nll_loss(y, t, softplus(y)) + smooth_l1_loss(y, t) + l1_loss(y, t) +
                        bce_with_logits_loss(y, sigmoid(t).detach()) +
                        bce_loss(sigmoid(y), sigmoid(t).detach()) + triplet_margin_loss(y, t, leaky_relu(y)) +
                        mean(CrossEntropy{.reduction = Reduction::none}(softmax(concat({y, t}, 1)), index));
    optimizer->zero_grad();
    loss.backward();
    clip_grad_norm(parameters, 1);
    clip_grad_value(parameters, 0.5);
    optimizer->step();
    if (step >= 10) CHECK(g_allocations - before == 0);
  }
}

TEST_CASE("what a recorded graph used stays its own, whatever the size, on every device") {
  for (const Device device : test::devices()) {
    INFO(std::string(name(device)));
    for (const std::int64_t values : {100, 70'000'000}) {  // the pool keeps no blocks of so many
      std::optional<detail::GraphMemory> memory(std::in_place, device);
      const float* used = nullptr;
      const auto allocate = [&] { return Tensor::empty({values}, Dtype::float32, device); };
      memory->record([&] { used = allocate().data<float>(); });
      const std::size_t in_use = memory_use(device).in_use;
      std::vector<Tensor> others;
      for (int i = 0; i < 3; ++i) others.push_back(allocate());
      for (const Tensor& other : others) CHECK(other.data<float>() != used);
      others.clear();
      CHECK(memory_use(device).in_use == in_use);
      memory.reset();
      CHECK(memory_use(device).in_use == in_use);
    }
  }
}

TEST_CASE("another thread gets none of the memory of a graph that is being recorded, on every device") {
  for (const Device device : test::devices()) {
    constexpr std::size_t bytes = 5000;
    const auto allocate = [&] { return detail::pool_allocate(device, bytes); };
    const auto free = [&](void* block) { detail::pool_free(device, block, bytes); };
    free(allocate());
    std::optional<detail::GraphMemory> memory(std::in_place, device);
    void *used = nullptr, *other = nullptr, *recorded_later = nullptr;
    memory->record([&] {
      used = allocate();
      free(used);
      std::thread([&] {
        other = allocate();
        release_cached_memory(device);
        free(other);
      }).join();
      recorded_later = allocate();
      free(recorded_later);
    });
    CHECK(other != used);
    CHECK(recorded_later == used);
    void* const after = allocate();
    CHECK(after == other);  // went back to all, and the graph's own did not
    free(after);
    const std::size_t cached = memory_use(device).cached;
    memory.reset();
    CHECK(memory_use(device).cached >= cached + bytes);
  }
}
