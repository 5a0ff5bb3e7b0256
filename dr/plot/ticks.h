// Round numbers for axes.
#pragma once

#include <string>
#include <vector>

namespace flatland::plot {

struct Tick {
  double value = 0;
  std::string label = {};
  std::string exponent = {};  // raised behind the label
};

// About `count` multiples of 1, 2 or 5 times a power of ten inside [min, max].
std::vector<Tick> linear_ticks(double min, double max, int count);
// Powers of ten inside [min, max], thinned to about `count`; with 2 and 5 times them where those are fewer
// than three, and linear_ticks where all together are. min > 0.
std::vector<Tick> log_ticks(double min, double max, int count);

// A number with so many digits after the point, with a true minus sign.
std::string fixed(double value, int digits);

}  // namespace flatland::plot
