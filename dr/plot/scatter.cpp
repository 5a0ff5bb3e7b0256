#include <flatland/dr/plot/panel.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

namespace flatland::plot {
namespace {

constexpr double k_padding = 0.035;  // of the box, on each side
constexpr double k_outlined = 4;     // dots of this size and more have a thin white edge

struct Look {
  double diameter = 0;
  double opacity = 1;
};

// Fewer points are larger and denser in colour, so that a panel carries about the same amount of ink.
Look look(const Scatter& panel) {
  const double n = static_cast<double>(panel.points.size(0));
  Look result;
  result.diameter = panel.size > 0 ? panel.size : std::clamp(24 / std::pow(n, 0.25), 1.2, 6.5);
  result.opacity =
      panel.opacity > 0 ? std::min(panel.opacity, 1.0) : std::clamp(1.35 - 0.19 * std::log10(n), 0.35, 0.95);
  return result;
}

std::vector<std::int64_t> labels_of(const Scatter& panel) {
  return panel.labels.defined() ? panel.labels.to_vector<std::int64_t>() : std::vector<std::int64_t>{};
}

std::size_t class_count(const std::vector<std::int64_t>& labels, const Scatter& panel) {
  const std::int64_t largest = labels.empty() ? -1 : *std::ranges::max_element(labels);
  return std::max(panel.classes.size(), static_cast<std::size_t>(largest + 1));
}

std::string class_name(const Scatter& panel, std::size_t i) {
  return i < panel.classes.size() ? panel.classes[i] : std::to_string(i);
}

ColorBar color_bar(const Scatter& panel) {
  const std::vector<double> values = panel.values.to_vector<double>();
  const auto [min, max] = std::ranges::minmax_element(values);
  return {.min = *min, .max = *max, .name = panel.values_name};
}

std::vector<Color> colors_of(const Scatter& panel, double opacity) {
  const auto n = static_cast<std::size_t>(panel.points.size(0));
  std::vector<Color> colors(n, class_color(0, 1).with_alpha(opacity));
  if (panel.values.defined()) {
    const std::vector<double> values = panel.values.to_vector<double>();
    const ColorBar bar = color_bar(panel);
    for (std::size_t i = 0; i < n; ++i) colors[i] = bar.color(values[i]).with_alpha(opacity);
  } else if (panel.labels.defined()) {
    const std::vector<std::int64_t> labels = labels_of(panel);
    const std::size_t classes = class_count(labels, panel);
    for (std::size_t i = 0; i < n; ++i) {
      const Color color = labels[i] < 0 ? k_frame : class_color(static_cast<std::size_t>(labels[i]), classes);
      colors[i] = color.with_alpha(opacity);
    }
  }
  return colors;
}

std::vector<double> diameters_of(const Scatter& panel, double largest) {
  std::vector<double> diameters(static_cast<std::size_t>(panel.points.size(0)), largest);
  if (!panel.sizes.defined()) return diameters;
  const std::vector<double> sizes = panel.sizes.to_vector<double>();
  const double most = *std::ranges::max_element(sizes);
  for (std::size_t i = 0; i < sizes.size() && most > 0; ++i) diameters[i] *= std::sqrt(sizes[i] / most);
  return diameters;
}

// A fixed mixed order, so that no class lies on top of all others.
std::vector<std::size_t> mixed_order(std::size_t n) {
  std::vector<std::uint64_t> keys(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::uint64_t z = (i + 1) * 0x9e3779b97f4a7c15U;  // splitmix64
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    keys[i] = z ^ z >> 31;
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return keys[i]; });
  return order;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// At the point of the class that is nearest to the class's median.
void draw_class_names(const Scatter& panel, const std::vector<Point>& points, Canvas& canvas) {
  const std::vector<std::int64_t> labels = labels_of(panel);
  std::map<std::int64_t, std::vector<Point>> classes;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0) classes[labels[i]].push_back(points[i]);
  }
  const Font font{.size = 11, .bold = true, .color = k_ink};
  for (const auto& [label, members] : classes) {
    std::vector<double> xs, ys;
    for (const Point& p : members) xs.push_back(p.x), ys.push_back(p.y);
    const Point middle{median(xs), median(ys)};
    const Point at = *std::ranges::min_element(
        members, {}, [&](const Point& p) { return std::hypot(p.x - middle.x, p.y - middle.y); });
    canvas.text(class_name(panel, static_cast<std::size_t>(label)), {at.x, at.y + 0.36 * font.size}, font,
                Align::center, true);
  }
}

}  // namespace

void check(const Scatter& panel, const std::string& who) {
  FLATLAND_CHECK(panel.points.defined() && panel.points.rank() == 2 && panel.points.size(1) == 2, who,
                 ": points must be (N, 2)");
  const std::int64_t n = panel.points.size(0);
  FLATLAND_CHECK(n > 0, who, ": there are no points");
  const std::vector<double> points = panel.points.to_vector<double>();
  const auto bad = std::ranges::find_if(points, [](double value) { return !std::isfinite(value); });
  FLATLAND_CHECK(
      bad == points.end(), who, ": point ", (bad - points.begin()) / 2, " is NaN or infinite (and ",
      std::count_if(points.begin(), points.end(), [](double value) { return !std::isfinite(value); }) - 1,
      " coordinates more)");
  FLATLAND_CHECK(!panel.labels.defined() || panel.labels.numel() == n, who, ": ", n, " points but ",
                 panel.labels.defined() ? panel.labels.numel() : 0, " labels");
  FLATLAND_CHECK(!panel.labels.defined() || !panel.labels.is_floating(), who,
                 ": labels must be int64 or int32; numbers to colour by go into values");
  constexpr std::int64_t k_max_classes = 100000;
  for (const std::int64_t label : labels_of(panel)) {
    FLATLAND_CHECK(label < k_max_classes, who, ": label ", label,
                   " is no class; numbers to colour by go into values");
  }
  FLATLAND_CHECK(!panel.sizes.defined() || panel.sizes.numel() == n, who, ": ", n, " points but ",
                 panel.sizes.defined() ? panel.sizes.numel() : 0, " sizes");
  if (panel.sizes.defined()) {
    for (const double size : panel.sizes.to_vector<double>()) {
      FLATLAND_CHECK(std::isfinite(size) && size >= 0, who, ": a size is ", size,
                     "; sizes are finite and not below 0");
    }
  }
  if (!panel.values.defined()) return;
  FLATLAND_CHECK(panel.values.numel() == n, who, ": ", n, " points but ", panel.values.numel(), " values");
  for (const double value : panel.values.to_vector<double>()) {
    FLATLAND_CHECK(std::isfinite(value), who, ": a value is NaN or infinite");
  }
}

Margins margins(const Scatter& panel, Canvas& canvas) {
  if (!panel.values.defined()) return {};
  return {.right = color_bar_width(color_bar(panel), canvas)};
}

std::vector<LegendEntry> legend(const Scatter& panel) {
  if (!panel.labels.defined() || panel.values.defined() || panel.name_classes) return {};
  const std::vector<std::int64_t> labels = labels_of(panel);
  const std::size_t classes = class_count(labels, panel);
  std::vector<bool> present(classes);
  for (const std::int64_t label : labels) {
    if (label >= 0) present[static_cast<std::size_t>(label)] = true;
  }
  std::vector<LegendEntry> entries;
  for (std::size_t i = 0; i < classes; ++i) {
    if (present[i] || i < panel.classes.size())
      entries.push_back({class_name(panel, i), class_color(i, classes)});
  }
  return entries;
}

Limits limits(const Scatter& panel) {
  constexpr double k_infinity = std::numeric_limits<double>::infinity();
  Limits result{k_infinity, -k_infinity, k_infinity, -k_infinity};
  const std::vector<double> points = panel.points.to_vector<double>();
  for (std::size_t i = 0; i + 1 < points.size(); i += 2) {
    result.min_x = std::min(result.min_x, points[i]);
    result.max_x = std::max(result.max_x, points[i]);
    result.min_y = std::min(result.min_y, points[i + 1]);
    result.max_y = std::max(result.max_y, points[i + 1]);
  }
  return result;
}

void draw(const Scatter& panel, const Limits& limits, Canvas& canvas, const Box& box) {
  canvas.frame(box, k_frame, 0.75);
  const Look style = look(panel);
  const double room = 1 - 2 * k_padding;
  // Halves, so that the difference of the largest numbers stays finite.
  const double half_x = limits.max_x / 2 - limits.min_x / 2, half_y = limits.max_y / 2 - limits.min_y / 2;
  const double middle_x = limits.min_x / 2 + limits.max_x / 2, middle_y = limits.min_y / 2 + limits.max_y / 2;
  double scale = std::numeric_limits<double>::infinity();
  if (half_x > 0) scale = std::min(scale, (room * box.width - style.diameter) / 2 / half_x);
  if (half_y > 0) scale = std::min(scale, (room * box.height - style.diameter) / 2 / half_y);
  if (!std::isfinite(scale)) scale = 0;  // all points are one

  const std::vector<double> values = panel.points.to_vector<double>();
  const std::vector<Color> colors = colors_of(panel, style.opacity);
  std::vector<Point> points(colors.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    points[i] = {box.x + box.width / 2 + scale * (values[2 * i] - middle_x),
                 box.y + box.height / 2 - scale * (values[2 * i + 1] - middle_y)};
  }
  const std::vector<double> diameters = diameters_of(panel, style.diameter);
  std::vector<Dot> dots;
  for (const std::size_t i : mixed_order(points.size())) {
    dots.push_back({points[i], colors[i], diameters[i]});
  }
  std::ranges::stable_sort(dots, std::greater(), &Dot::diameter);  // small ones on top
  canvas.dots(dots, k_white.with_alpha(0.8), style.diameter >= k_outlined ? 0.5 : 0, box);
  if (panel.name_classes && panel.labels.defined()) draw_class_names(panel, points, canvas);
  if (panel.values.defined()) draw_color_bar(color_bar(panel), canvas, box);
}

}  // namespace flatland::plot
