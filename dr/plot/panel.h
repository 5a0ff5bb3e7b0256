// What the figure asks of each kind of panel.
#pragma once

#include <flatland/dr/plot.h>
#include <flatland/dr/plot/canvas.h>

#include <optional>
#include <string>
#include <vector>

namespace flatland::plot {

// Room that a panel needs around its inner part, for ticks, names and colour bar.
struct Margins {
  double left = 0, top = 0, right = 0, bottom = 0;
};

struct LegendEntry {
  std::string name;
  Color color;
  bool line = false;  // a stroke, else a dot

  bool operator==(const LegendEntry& other) const { return name == other.name && line == other.line; }
};

// Limits of both axes of an embedding.
struct Limits {
  double min_x = 0, max_x = 0, min_y = 0, max_y = 0;
};

// Each throws when the data cannot be drawn; `who` begins the message ("plot: panel 'train'").
void check(const Scatter& panel, const std::string& who);
void check(const Lines& panel, const std::string& who);
void check(const Bars& panel, const std::string& who);
void check(const HeatMap& panel, const std::string& who);
void check(const Images& panel, const std::string& who);

// The height of the inner part, when the user gives none.
double preferred_height(const Bars& panel);
inline double preferred_height(const Lines&) {
  return 220;
}
template <class Other>
double preferred_height(const Other&) {
  return 330;
}

Margins margins(const Scatter& panel, Canvas& canvas);
Margins margins(const Lines& panel, Canvas& canvas);
Margins margins(const Bars& panel, Canvas& canvas);
Margins margins(const HeatMap& panel, Canvas& canvas);
Margins margins(const Images& panel, Canvas& canvas);

std::vector<LegendEntry> legend(const Scatter& panel);
std::vector<LegendEntry> legend(const Lines& panel);
inline std::vector<LegendEntry> legend(const Bars&) {
  return {};
}
inline std::vector<LegendEntry> legend(const HeatMap&) {
  return {};
}
inline std::vector<LegendEntry> legend(const Images&) {
  return {};
}

Limits limits(const Scatter& panel);

void draw(const Scatter& panel, const Limits& limits, Canvas& canvas, const Box& box);
void draw(const Lines& panel, Canvas& canvas, const Box& box);
void draw(const Bars& panel, Canvas& canvas, const Box& box);
void draw(const HeatMap& panel, Canvas& canvas, const Box& box);
void draw(const Images& panel, Canvas& canvas, const Box& box);

// --- legend.cpp
double legend_width(const std::vector<LegendEntry>& entries, double height, Canvas& canvas);
void draw_legend(const std::vector<LegendEntry>& entries, Canvas& canvas, const Box& box);

// The colours of values from min to max, on the right of a panel.
struct ColorBar {
  double min = 0, max = 1;
  std::string name;
  bool two_signs = false;  // around 0, else from dark to light

  Color color(double value) const {
    const double t = max > min ? (value - min) / (max - min) : 0.5;
    return two_signs ? signed_color(2 * t - 1) : value_color(t);
  }
};
double color_bar_width(const ColorBar& bar, Canvas& canvas);
void draw_color_bar(const ColorBar& bar, Canvas& canvas, const Box& panel);

// --- axis.cpp: a scale from values to places.
class Scale {
 public:
  // From `from` to `to`, which may run backwards.
  Scale(double min, double max, bool log, double from, double to);
  double operator()(double value) const;

 private:
  double min_, max_, from_, to_;
  bool log_;
};

void draw_tick_label(const struct Tick& tick, Canvas& canvas, Point baseline, const Font& font, Align align);
double tick_label_width(const struct Tick& tick, Canvas& canvas, const Font& font);

// Text cut to a width, with an ellipsis.
std::string shortened(const std::string& text, double width, const Font& font, Canvas& canvas);

inline constexpr Font k_tick_font{.size = 9.5};
inline constexpr Font k_name_font{.size = 10};

}  // namespace flatland::plot
