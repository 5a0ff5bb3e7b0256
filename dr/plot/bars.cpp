#include <flatland/dr/plot/panel.h>
#include <flatland/dr/plot/ticks.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <cmath>

namespace flatland::plot {
namespace {

constexpr double k_bar_gap = 8;       // between name and bar, bar and value
constexpr double k_bar_share = 0.68;  // of a bar's row
constexpr double k_max_bar_name = 180;
constexpr double k_name_row = 16;

double low(const Bars& panel) {
  return panel.axis.min.value_or(std::min(0.0, *std::ranges::min_element(panel.values)));
}
double high(const Bars& panel) {
  return panel.axis.max.value_or(std::max(0.0, *std::ranges::max_element(panel.values)));
}

}  // namespace

void check(const Bars& panel, const std::string& who) {
  FLATLAND_CHECK(!panel.values.empty(), who, ": there are no bars");
  FLATLAND_CHECK(panel.names.size() == panel.values.size(), who, ": ", panel.values.size(), " bars but ",
                 panel.names.size(), " names");
  FLATLAND_CHECK(!panel.axis.log, who, ": bars have no logarithmic axis; their length would mean nothing");
  for (std::size_t i = 0; i < panel.values.size(); ++i) {
    FLATLAND_CHECK(std::isfinite(panel.values[i]), who, ": bar '", panel.names[i], "' is NaN or infinite");
  }
  FLATLAND_CHECK(low(panel) <= high(panel), who, ": the axis runs from ", low(panel), " to ", high(panel));
}

double preferred_height(const Bars& panel) {
  constexpr double k_row = 32, k_least = 90;
  return std::max(k_least, k_row * static_cast<double>(panel.values.size()));
}

Margins margins(const Bars& panel, Canvas& canvas) {
  Margins result{.top = panel.axis.name.empty() ? 0 : k_name_row};
  for (std::size_t i = 0; i < panel.values.size(); ++i) {
    result.left = std::max(
        result.left, k_bar_gap + std::min(k_max_bar_name, canvas.text_width(panel.names[i], k_name_font)));
    result.right = std::max(result.right,
                            k_bar_gap + canvas.text_width(fixed(panel.values[i], panel.digits), k_tick_font));
  }
  return result;
}

void draw(const Bars& panel, Canvas& canvas, const Box& box) {
  const double row = std::min(32.0, box.height / static_cast<double>(panel.values.size()));
  const Scale x(low(panel), high(panel), false, box.x, box.right());
  const double zero = std::clamp(x(std::clamp(0.0, low(panel), high(panel))), box.x, box.right());
  if (!panel.axis.name.empty()) canvas.text(panel.axis.name, {box.x, box.y - k_name_row / 2}, k_name_font);
  for (std::size_t i = 0; i < panel.values.size(); ++i) {
    const double top = box.y + static_cast<double>(i) * row + (1 - k_bar_share) / 2 * row;
    const double end = std::clamp(x(panel.values[i]), box.x, box.right());
    canvas.fill({std::min(zero, end), top, std::fabs(end - zero), k_bar_share * row}, class_color(0, 1));
    const double baseline = top + k_bar_share * row / 2 + 0.36 * k_name_font.size;
    const Font name_font{.size = k_name_font.size, .color = k_ink};
    canvas.text(shortened(panel.names[i], k_max_bar_name, name_font, canvas), {box.x - k_bar_gap, baseline},
                name_font, Align::right);
    canvas.text(fixed(panel.values[i], panel.digits), {std::max(zero, end) + k_bar_gap, baseline},
                k_tick_font);
  }
  const double bottom = box.y + row * static_cast<double>(panel.values.size());
  canvas.line({zero, box.y}, {zero, bottom}, k_frame, 1);
}

}  // namespace flatland::plot
