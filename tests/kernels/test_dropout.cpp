#include <doctest/doctest.h>
#include <flatland/kernels/dropout.h>
#include <flatland/kernels/random.h>
#include <tests/support/devices.h>
#include <tests/support/errors.h>
#include <tests/support/relation_reference.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace flatland;
using kernels::DropoutState;
using kernels::Exec;
using kernels::RandomStream;
using test::Mirror;

TEST_CASE_TEMPLATE("dropout takes the draws that its state names on every device", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const Device device : test::devices()) {
    const Exec exec(device);
    for (const double p : {0.0, 0.1, 0.5, 0.9})
      for (const std::int64_t n : {0, 1, 2, 7, 8, 9, 255, 256, 257, 8191, 8192, 8193, 20000}) {
        const auto size = static_cast<std::size_t>(n);
        std::vector<T> x = test::random_values<T>(n, 1, -2, 2), mask(size + 3, nan), y(size + 3, nan);
        x.insert(x.end(), 3, nan);
        std::vector<DropoutState> state{{.seed = 5, .stream = 6, .next = std::uint64_t{1} << 33}};
        for (int call = 0; call < 2; ++call) {
          const RandomStream random{5, 6};
          const std::uint64_t first = state[0].next;
          {
            const Mirror mx(exec, x), mm(exec, mask), my(exec, y);
            const Mirror ms(exec, state);
            kernels::dropout<T>(exec, p, ms.data(), mx.span().first(size), mm.span().first(size),
                                my.span().first(size));
          }
          bool right = state[0].next == first + static_cast<std::uint64_t>(n) && state[0].arrived == 0;
          for (std::size_t i = 0; i < size; ++i) {
            const bool out = static_cast<T>(random.uniform(first + i)) < static_cast<T>(p);
            const T want = out ? T(0) : static_cast<T>(1 / (1 - p));
            right = right && mask[i] == want && y[i] == x[i] * want;
          }
          for (std::size_t i = size; i < size + 3; ++i)
            right = right && std::isnan(mask[i]) && std::isnan(y[i]);
          INFO(std::string(name(device)), " p ", p, ", ", n, " values, call ", call);
          CHECK(right);
        }
      }
  }
}

TEST_CASE("dropout leaves out its share, and very many values on every device") {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    constexpr std::int64_t n = 1'100'000;
    std::vector<float> x(n, 1), mask(n);
    std::vector<DropoutState> state(1);
    {
      const Mirror mx(exec, x), mm(exec, mask);
      const Mirror ms(exec, state);
      kernels::dropout<float>(exec, 0.3, ms.data(), mx.span(), mm.span(), mx.span());  // in place
    }
    double kept = 0;
    for (const float v : x) kept += v != 0;
    // Six deviations of the number that is left out.
    CHECK(std::abs(kept / n - 0.7) <= 6 * std::sqrt(0.21 / n));
    CHECK(x == mask);
    CHECK((state[0].next == n && state[0].arrived == 0));
  }
}

TEST_CASE("dropout gives the same bits for any number of threads, and names what does not fit") {
  const std::vector<double> x = test::random_values<double>(20000, 3);
  test::check_threads([&](const Exec& exec) {
    std::vector<double> mask(x.size()), y(x.size());
    DropoutState state{.seed = 1};
    kernels::dropout<double>(exec, 0.4, &state, x, mask, std::span(y));
    return y;
  });
  std::vector<double> y(3), mask(4);
  DropoutState state;
  const auto says = [&](double p) {
    return test::error_of([&] { kernels::dropout<double>(Exec(), p, &state, y, mask, std::span(y)); });
  };
  CHECK(test::contains(says(1), "p is 1"));
  CHECK(test::contains(says(-0.1), "p is -0.1"));
  CHECK(test::contains(says(0.5), "x has 3 values, mask 4"));
}
