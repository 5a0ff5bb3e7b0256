#include <flatland/dr/plot/panel.h>
#include <flatland/dr/plot/ticks.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace flatland::plot {
namespace {

constexpr double k_tick_gap = 6;
constexpr double k_tick_row = 18;  // room for tick labels under the x axis
constexpr double k_name_row = 16;
constexpr double k_from_zero =
    0.3;  // a y axis begins at 0 when the smallest value is below this share of the largest
constexpr int k_x_ticks = 6, k_y_ticks = 5;
constexpr std::size_t k_max_points = 4000;  // longer lines are drawn by their smallest and largest values

struct Range {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    min = std::min(min, value);
    max = std::max(max, value);
  }
  bool empty() const { return min > max; }
};

double x_of(const Line& line, std::size_t i) {
  return line.x.empty() ? static_cast<double>(i + 1) : line.x[i];
}

Range x_range(const Lines& panel) {
  Range range;
  for (const Line& line : panel.lines) {
    for (std::size_t i = 0; i < line.y.size(); ++i) range.add(x_of(line, i));
  }
  range.min = panel.x.min.value_or(range.min);
  range.max = panel.x.max.value_or(range.max);
  return range;
}

Range y_range(const Lines& panel) {
  Range range;
  for (const Line& line : panel.lines) {
    for (const double y : line.y) range.add(y);
  }
  constexpr double k_padding = 0.05;
  if (panel.y.log) {
    const double factor = std::pow(range.max / range.min, k_padding);
    range = {range.min / factor, range.max * factor};
  } else if (range.min >= 0 && range.min < k_from_zero * range.max) {
    range = {0, range.max * (1 + k_padding)};
  } else {
    const double pad = range.max > range.min ? k_padding * (range.max - range.min)
                                             : std::max(0.5, std::fabs(range.min) / 10);
    range = {range.min - pad, range.max + pad};
  }
  range.min = panel.y.min.value_or(range.min);
  range.max = panel.y.max.value_or(range.max);
  return range;
}

std::vector<Tick> ticks_of(const Axis& axis, const Range& range, int count) {
  return axis.log ? log_ticks(range.min, range.max, count) : linear_ticks(range.min, range.max, count);
}

// The smallest and the largest y of each run of points, in their order.
std::vector<Point> thinned(const std::vector<Point>& points) {
  if (points.size() <= k_max_points) return points;
  const std::size_t run = (points.size() + k_max_points / 2 - 1) / (k_max_points / 2);
  std::vector<Point> result;
  for (std::size_t begin = 0; begin < points.size(); begin += run) {
    const auto from = points.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto to = points.begin() + static_cast<std::ptrdiff_t>(std::min(begin + run, points.size()));
    auto [low, high] =
        std::minmax_element(from, to, [](const Point& a, const Point& b) { return a.y < b.y; });
    if (high < low) std::swap(low, high);
    result.push_back(*low);
    if (low != high) result.push_back(*high);
  }
  return result;
}

void check_axis(const Axis& axis, const Range& range, const std::string& who, const char* which) {
  FLATLAND_CHECK(!axis.log || range.min > 0, who, ": a logarithmic ", which, " axis cannot show ", range.min);
  FLATLAND_CHECK(range.min <= range.max, who, ": the ", which, " axis runs from ", range.min, " to ",
                 range.max);
}

}  // namespace

void check(const Lines& panel, const std::string& who) {
  Range x, y;
  for (const Line& line : panel.lines) {
    FLATLAND_CHECK(line.x.empty() || line.x.size() == line.y.size(), who, ": line '", line.name, "' has ",
                   line.x.size(), " x but ", line.y.size(), " y");
    for (std::size_t i = 0; i < line.y.size(); ++i) {
      FLATLAND_CHECK(std::isfinite(x_of(line, i)), who, ": line '", line.name,
                     "' has an x that is NaN or infinite");
      x.add(x_of(line, i));
      y.add(line.y[i]);
    }
  }
  FLATLAND_CHECK(!y.empty(), who, ": there is nothing to draw: no line has a finite value");
  check_axis(panel.x, x, who, "x");
  check_axis(panel.y, y, who, "y");
  check_axis(panel.x, x_range(panel), who, "x");
  check_axis(panel.y, y_range(panel), who, "y");
}

Margins margins(const Lines& panel, Canvas& canvas) {
  Margins result{.top = panel.y.name.empty() ? 0 : k_name_row, .bottom = k_tick_row};
  for (const Tick& tick : ticks_of(panel.y, y_range(panel), k_y_ticks)) {
    result.left = std::max(result.left, k_tick_gap + tick_label_width(tick, canvas, k_tick_font));
  }
  const std::vector<Tick> x_ticks = ticks_of(panel.x, x_range(panel), k_x_ticks);
  if (!x_ticks.empty()) result.right = tick_label_width(x_ticks.back(), canvas, k_tick_font) / 2;
  if (!panel.x.name.empty()) result.bottom += k_name_row;
  return result;
}

std::vector<LegendEntry> legend(const Lines& panel) {
  std::vector<LegendEntry> entries;
  for (std::size_t i = 0; i < panel.lines.size(); ++i) {
    if (!panel.lines[i].name.empty()) {
      entries.push_back({panel.lines[i].name, class_color(i, panel.lines.size()), true});
    }
  }
  return entries.size() > 1 ? entries : std::vector<LegendEntry>{};
}

void draw(const Lines& panel, Canvas& canvas, const Box& box) {
  const Range xs = x_range(panel), ys = y_range(panel);
  const Scale x(xs.min, xs.max, panel.x.log, box.x, box.right());
  const Scale y(ys.min, ys.max, panel.y.log, box.bottom(), box.y);
  for (const Tick& tick : ticks_of(panel.y, ys, k_y_ticks)) {
    const double at = y(tick.value);
    canvas.line({box.x, at}, {box.right(), at}, k_grid, 0.75);
    draw_tick_label(tick, canvas, {box.x - k_tick_gap, at + 0.36 * k_tick_font.size}, k_tick_font,
                    Align::right);
  }
  canvas.line({box.x, box.bottom()}, {box.right(), box.bottom()}, k_frame, 1);
  for (const Tick& tick : ticks_of(panel.x, xs, k_x_ticks)) {
    const double at = x(tick.value);
    canvas.line({at, box.bottom()}, {at, box.bottom() + 4}, k_frame, 1);
    draw_tick_label(tick, canvas, {at, box.bottom() + k_tick_row - 4}, k_tick_font, Align::center);
  }
  if (!panel.y.name.empty()) canvas.text(panel.y.name, {box.x, box.y - k_name_row / 2}, k_name_font);
  if (!panel.x.name.empty()) {
    canvas.text(panel.x.name, {box.right(), box.bottom() + k_tick_row + k_name_row - 5}, k_name_font,
                Align::right);
  }

  constexpr double k_overshoot = 1;  // half the stroke may leave the box
  canvas.clip(
      {box.x - k_overshoot, box.y - k_overshoot, box.width + 2 * k_overshoot, box.height + 2 * k_overshoot});
  for (std::size_t i = 0; i < panel.lines.size(); ++i) {
    const Line& line = panel.lines[i];
    const Color color = class_color(i, panel.lines.size());
    std::vector<Point> piece;
    for (std::size_t j = 0; j <= line.y.size(); ++j) {
      if (j < line.y.size() && std::isfinite(line.y[j])) {
        piece.push_back({x(x_of(line, j)), y(line.y[j])});
        continue;
      }
      const Dot lone{piece.empty() ? Point{} : piece[0], color, 5};
      if (piece.size() == 1) canvas.dots({&lone, 1}, k_white, 0, box);
      if (piece.size() > 1) canvas.polyline(thinned(piece), color, 1.8);
      piece.clear();
    }
  }
  canvas.unclip();
}

}  // namespace flatland::plot
