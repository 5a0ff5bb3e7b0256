#include <flatland/dr/plot/panel.h>
#include <flatland/dr/plot/ticks.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <cmath>

namespace flatland::plot {
namespace {

constexpr double k_heat_map_gap = 6;
constexpr double k_row = 16;
constexpr double k_max_row_name = 120;
constexpr std::int64_t k_max_cells = 4096;  // more are drawn as a picture

ColorBar color_bar(const HeatMap& panel) {
  if (panel.span > 0) return {-panel.span, panel.span, panel.values_name, true};
  std::vector<double> values = panel.values.to_vector<double>();
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  const auto [min, max] = std::ranges::minmax_element(values);
  return {.min = *min, .max = *max, .name = panel.values_name};
}

Color color_of(double value, const ColorBar& bar) {
  return std::isfinite(value) ? bar.color(value) : k_frame;
}

// Digits behind the point: none where all values are whole.
int digits_of(const std::vector<double>& values) {
  const auto whole = [](double value) { return !std::isfinite(value) || value == std::round(value); };
  return std::ranges::all_of(values, whole) ? 0 : 2;
}

double relative_luminance(const Color& c) {
  return 0.2126 * c.r * c.r + 0.7152 * c.g * c.g + 0.0722 * c.b * c.b;
}

}  // namespace

void check(const HeatMap& panel, const std::string& who) {
  FLATLAND_CHECK(panel.values.defined() && panel.values.rank() == 2 && panel.values.numel() > 0, who,
                 ": values must be (R, C) and not empty");
  const auto fits = [](const std::vector<std::string>& names, std::int64_t n) {
    return names.empty() || static_cast<std::int64_t>(names.size()) == n;
  };
  FLATLAND_CHECK(fits(panel.row_names, panel.values.size(0)), who, ": ", panel.values.size(0), " rows but ",
                 panel.row_names.size(), " names");
  FLATLAND_CHECK(fits(panel.column_names, panel.values.size(1)), who, ": ", panel.values.size(1),
                 " columns but ", panel.column_names.size(), " names");
  const std::vector<double> values = panel.values.to_vector<double>();
  FLATLAND_CHECK(std::ranges::any_of(values, [](double value) { return std::isfinite(value); }), who,
                 ": no value is finite");
  FLATLAND_CHECK(std::isfinite(panel.span) && panel.span >= 0, who, ": span is ", panel.span,
                 "; give the largest absolute value that has a colour, or 0");
}

Margins margins(const HeatMap& panel, Canvas& canvas) {
  Margins result{.right = color_bar_width(color_bar(panel), canvas)};
  for (const std::string& name : panel.row_names) {
    result.left = std::max(result.left,
                           k_heat_map_gap + std::min(k_max_row_name, canvas.text_width(name, k_tick_font)));
  }
  if (!panel.rows_name.empty()) result.top += k_row;
  if (!panel.column_names.empty()) result.bottom += k_row;
  if (!panel.columns_name.empty()) result.bottom += k_row;
  return result;
}

void draw(const HeatMap& panel, Canvas& canvas, const Box& box) {
  const std::int64_t rows = panel.values.size(0), cols = panel.values.size(1);
  const double height = box.height / static_cast<double>(rows), width = box.width / static_cast<double>(cols);
  const std::vector<double> values = panel.values.to_vector<double>();
  const ColorBar bar = color_bar(panel);
  const int digits = digits_of(values);
  std::vector<Color> colors;
  for (const double value : values) colors.push_back(color_of(value, bar));

  if (rows * cols > k_max_cells) {
    canvas.pixels(colors, static_cast<int>(cols), static_cast<int>(rows), box);
  } else {
    const double gap = std::min(height, width) > 8 ? 1 : 0;
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        const auto at = static_cast<std::size_t>(i * cols + j);
        const Box cell{box.x + static_cast<double>(j) * width, box.y + static_cast<double>(i) * height,
                       width - gap, height - gap};
        canvas.fill(cell, colors[at]);
        if (!panel.write_values || !std::isfinite(values[at])) continue;
        const Font font{.size = std::clamp(0.4 * std::min(width, height), 5.0, 10.0),
                        .color = relative_luminance(colors[at]) > 0.3 ? k_ink : k_white};
        canvas.text(fixed(values[at], digits),
                    {cell.x + cell.width / 2, cell.y + cell.height / 2 + 0.36 * font.size}, font,
                    Align::center);
      }
    }
  }
  if (bar.two_signs) canvas.frame(box, k_frame, 0.75);  // white cells end somewhere
  for (std::size_t i = 0; i < panel.row_names.size(); ++i) {
    const double y = box.y + (static_cast<double>(i) + 0.5) * height;
    canvas.text(shortened(panel.row_names[i], k_max_row_name, k_tick_font, canvas),
                {box.x - k_heat_map_gap, y + 0.36 * k_tick_font.size}, k_tick_font, Align::right);
  }
  for (std::size_t j = 0; j < panel.column_names.size(); ++j) {
    const double x = box.x + (static_cast<double>(j) + 0.5) * width;
    canvas.text(shortened(panel.column_names[j], width, k_tick_font, canvas), {x, box.bottom() + k_row - 3},
                k_tick_font, Align::center);
  }
  if (!panel.rows_name.empty()) canvas.text(panel.rows_name, {box.x, box.y - k_row / 2}, k_name_font);
  if (!panel.columns_name.empty()) {
    const double y = box.bottom() + (panel.column_names.empty() ? 1 : 2) * k_row - 3;
    canvas.text(panel.columns_name, {box.right(), y}, k_name_font, Align::right);
  }
  draw_color_bar(bar, canvas, box);
}

}  // namespace flatland::plot
