#include <flatland/dr/plot/ticks.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace flatland::plot {
namespace {

constexpr const char* k_minus = "\xe2\x88\x92";

// Numbers that need more digits are written as powers of ten.
constexpr int k_plain_digits = 5;

Tick power_of_ten(int exponent, int factor) {
  Tick tick{.value = factor * std::pow(10.0, exponent)};
  if (exponent >= -3 && exponent < k_plain_digits) {
    tick.label = fixed(tick.value, std::max(0, -exponent));
    return tick;
  }
  if (factor != 1) tick.label = std::to_string(factor) + "\xc2\xb7";  // a middle dot
  tick.label += "10";
  tick.exponent = fixed(exponent, 0);
  return tick;
}

}  // namespace

std::string fixed(double value, int digits) {
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  std::string result = text;
  const bool all_zero = result.find_first_of("123456789") == std::string::npos;
  if (result.starts_with('-')) result.replace(0, 1, all_zero ? "" : k_minus);
  return result;
}

std::vector<Tick> linear_ticks(double min, double max, int count) {
  const double span = max - min;
  if (!(span > 0) || !std::isfinite(span)) return {{.value = min, .label = fixed(min, 0)}};
  const double raw = span / count;
  const int exponent = static_cast<int>(std::floor(std::log10(raw)));
  const double power = std::pow(10.0, exponent);
  double step = 10 * power;
  for (const int factor : {5, 2, 1}) {
    if (factor * power >= 0.7 * raw) step = factor * power;
  }
  const int digits = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  const double largest = std::max(std::fabs(min), std::fabs(max));
  const int scale = static_cast<int>(std::floor(std::log10(largest)));
  const bool plain = digits <= k_plain_digits && scale < k_plain_digits + 1;

  std::vector<Tick> ticks;
  for (double i = std::ceil(min / step - 1e-9); i * step <= max + 1e-9 * span; ++i) {
    Tick tick{.value = i * step};
    if (plain || i == 0) {
      tick.label = fixed(tick.value, plain ? digits : 0);
    } else {
      tick.label = fixed(tick.value / std::pow(10.0, scale), std::max(0, digits + scale)) + "\xc2\xb7" + "10";
      tick.exponent = fixed(scale, 0);
    }
    ticks.push_back(tick);
    if (ticks.size() > 100) break;  // a step that is lost in rounding
  }
  return ticks;
}

std::vector<Tick> log_ticks(double min, double max, int count) {
  const int first = static_cast<int>(std::ceil(std::log10(min) - 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(max) + 1e-9));
  std::vector<Tick> ticks;
  if (last - first >= 1) {
    const int step =
        std::max(1, static_cast<int>(std::ceil((last - first + 1) / static_cast<double>(count))));
    for (int exponent = first; exponent <= last; exponent += step) ticks.push_back(power_of_ten(exponent, 1));
    if (ticks.size() > 2) return ticks;
    ticks.clear();
  }
  for (int exponent = first - 1; exponent <= last; ++exponent) {
    for (const int factor : {1, 2, 5}) {
      const Tick tick = power_of_ten(exponent, factor);
      if (tick.value >= min * (1 - 1e-9) && tick.value <= max * (1 + 1e-9)) ticks.push_back(tick);
    }
  }
  return ticks.size() < 3 ? linear_ticks(min, max, count) : ticks;
}

}  // namespace flatland::plot
