#include <flatland/dr/plot/panel.h>
#include <flatland/dr/plot/ticks.h>

#include <algorithm>
#include <cmath>

namespace flatland::plot {
namespace {

constexpr double k_row = 16.5;
constexpr double k_mark = 16;  // room for the dot or stroke
constexpr double k_max_entry_name = 150;
constexpr double k_column_gap = 16;
constexpr std::size_t k_max_columns = 3;
constexpr double k_bar_gap = 14, k_bar = 9, k_bar_label_gap = 6;
constexpr int k_bar_ticks = 5;

struct LegendLayout {
  std::size_t rows = 0;
  std::size_t shown = 0;
  std::string more;  // instead of the last entry, when not all fit
  std::vector<double> column_widths;
};

LegendLayout layout_of(const std::vector<LegendEntry>& entries, double height, Canvas& canvas) {
  LegendLayout layout;
  layout.rows = std::max<std::size_t>(1, static_cast<std::size_t>(height / k_row));
  layout.shown = std::min(entries.size(), layout.rows * k_max_columns);
  if (layout.shown < entries.size()) {
    --layout.shown;
    layout.more = "and " + std::to_string(entries.size() - layout.shown) + " more";
  }
  for (std::size_t begin = 0; begin < layout.shown; begin += layout.rows) {
    double width = 0;
    for (std::size_t i = begin; i < std::min(begin + layout.rows, layout.shown); ++i) {
      width = std::max(width, std::min(k_max_entry_name, canvas.text_width(entries[i].name, k_name_font)));
    }
    layout.column_widths.push_back(k_mark + width);
  }
  return layout;
}

std::vector<Tick> bar_ticks(const ColorBar& bar) {
  return linear_ticks(bar.min, bar.max, k_bar_ticks);
}

}  // namespace

double legend_width(const std::vector<LegendEntry>& entries, double height, Canvas& canvas) {
  if (entries.empty()) return 0;
  double width = 0;
  for (const double column : layout_of(entries, height, canvas).column_widths) {
    width += column + (width > 0 ? k_column_gap : 0);
  }
  return width;
}

void draw_legend(const std::vector<LegendEntry>& entries, Canvas& canvas, const Box& box) {
  if (entries.empty()) return;
  const LegendLayout layout = layout_of(entries, box.height, canvas);
  double x = box.x;
  for (std::size_t column = 0; column < layout.column_widths.size(); ++column) {
    for (std::size_t row = 0; row < layout.rows; ++row) {
      const std::size_t i = column * layout.rows + row;
      const double y = box.y + (static_cast<double>(row) + 0.5) * k_row;
      const Point baseline{x + k_mark, y + 0.36 * k_name_font.size};
      if (i == layout.shown && !layout.more.empty()) canvas.text(layout.more, baseline, k_name_font);
      if (i >= layout.shown) break;
      const LegendEntry& entry = entries[i];
      if (entry.line) {
        canvas.line({x, y}, {x + 11, y}, entry.color, 2.2);
      } else {
        const Dot dot{{x + 5, y}, entry.color, 7.5};
        canvas.dots({&dot, 1}, k_white, 0, box);
      }
      canvas.text(shortened(entry.name, k_max_entry_name, k_name_font, canvas), baseline, k_name_font);
    }
    x += layout.column_widths[column] + k_column_gap;
  }
}

double color_bar_width(const ColorBar& bar, Canvas& canvas) {
  double labels = 0;
  for (const Tick& tick : bar_ticks(bar))
    labels = std::max(labels, tick_label_width(tick, canvas, k_tick_font));
  const double name = canvas.text_width(bar.name, k_name_font);
  return k_bar_gap + std::max(k_bar + k_bar_label_gap + labels, name);
}

void draw_color_bar(const ColorBar& bar, Canvas& canvas, const Box& panel) {
  const double name_height = bar.name.empty() ? 0 : 18;
  const Box box{panel.right() + k_bar_gap, panel.y + name_height, k_bar,
                std::max(40.0, std::min(panel.height - name_height, 200.0))};
  if (!bar.name.empty()) canvas.text(bar.name, {box.x, panel.y + 9}, k_name_font);
  constexpr int k_steps = 256;
  std::vector<Color> colors;
  for (int i = k_steps - 1; i >= 0; --i)
    colors.push_back(bar.color(bar.min + i / (k_steps - 1.0) * (bar.max - bar.min)));
  canvas.pixels(colors, 1, k_steps, box);
  const Scale y(bar.min, bar.max, false, box.bottom(), box.y);
  for (const Tick& tick : bar_ticks(bar)) {
    const Point at{box.right(), y(tick.value)};
    canvas.line(at, {at.x + 3, at.y}, k_frame, 0.75);
    draw_tick_label(tick, canvas, {at.x + k_bar_label_gap, at.y + 0.36 * k_tick_font.size}, k_tick_font,
                    Align::left);
  }
}

}  // namespace flatland::plot
