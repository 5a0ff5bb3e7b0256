#include <doctest/doctest.h>
#include <flatland/kernels/optimizer.h>
#include <tests/support/devices.h>
#include <tests/support/relation_reference.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

using namespace flatland;
using kernels::Exec;
using test::Mirror;

namespace {

// Gradients of `sizes`, each with a sentinel behind it, clipped to max_norm; the norm behind them.
template <class T>
std::vector<std::vector<T>> clipped(const Exec& exec, const std::vector<std::int64_t>& sizes,
                                    double max_norm) {
  std::vector<std::vector<T>> gradients;
  unsigned seed = 1;
  for (const std::int64_t n : sizes) {
    gradients.push_back(test::random_values<T>(n + 1, seed++, -1, 1));
    gradients.back().back() = T(7);
  }
  gradients.push_back({T(-1)});
  {
    std::vector<std::unique_ptr<Mirror<T>>> mirrors;
    std::vector<kernels::GradientView<T>> views;
    for (std::vector<T>& g : gradients) {
      mirrors.push_back(std::make_unique<Mirror<T>>(exec, g));
      views.push_back({mirrors.back()->data(), std::ssize(g) - 1});
    }
    views.pop_back();
    kernels::clip_norm<T>(exec, max_norm, views, mirrors.back()->data());
  }
  return gradients;
}

}  // namespace

TEST_CASE_TEMPLATE("gradients are clipped to a norm on every device", T, float, double) {
  // Sums of up to 50,000 squares in another order, in double.
  const double relative = std::max(4 * static_cast<double>(std::numeric_limits<T>::epsilon()), 1e-13);
  std::vector<std::vector<std::int64_t>> models{
      {}, {0}, {1}, {5, 0, 7}, {4095}, {4096}, {4097}, {1, 8191, 8192, 8193, 3}, {20000, 30000}};
  models.emplace_back(300, 3);  // more than a launch takes
  for (const Device device : test::devices()) {
    for (const std::vector<std::int64_t>& sizes : models) {
      const auto whole = clipped<T>(Exec(), sizes, 1e9), clip = clipped<T>(Exec(device), sizes, 0.5);
      double sum = 0;
      for (std::size_t k = 0; k < sizes.size(); ++k)
        for (std::size_t i = 0; i + 1 < whole[k].size(); ++i)
          sum += static_cast<double>(whole[k][i]) * static_cast<double>(whole[k][i]);
      const double norm = std::sqrt(sum), factor = norm > 0.5 ? 0.5 / (norm + 1e-6) : 1;
      CHECK(static_cast<double>(clip.back()[0]) == doctest::Approx(norm).epsilon(relative));
      CHECK(static_cast<double>(whole.back()[0]) == doctest::Approx(norm).epsilon(relative));
      for (std::size_t k = 0; k < sizes.size(); ++k) {
        std::vector<double> want;
        for (const T v : whole[k]) want.push_back(static_cast<double>(v) * factor);
        want.back() = 7;
        test::check_close(clip[k], want, relative);
      }
      CHECK(clip == clipped<T>(Exec(device), sizes, 0.5));
    }
  }
  test::check_threads([](const Exec& exec) { return clipped<T>(exec, {20000, 5, 30000}, 0.5); });
}

TEST_CASE("a gradient that is not a number makes all so that are clipped with it, on every device") {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    std::vector<float> a{1, NAN}, b{2}, norm{0};
    {
      const Mirror<float> ma(exec, a), mb(exec, b), mn(exec, norm);
      kernels::clip_norm<float>(
          exec, 1, std::vector<kernels::GradientView<float>>{{ma.data(), 2}, {mb.data(), 1}}, mn.data());
    }
    CHECK((std::isnan(a[0]) && std::isnan(b[0]) && std::isnan(norm[0])));
  }
}
