#include <flatland/dr/file.h>
#include <flatland/dr/plot/panel.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace flatland {
namespace plot {
namespace {

constexpr double k_edge = 22;       // around everything
constexpr double k_panel_gap = 30;  // between columns
constexpr double k_row_gap = 26;
constexpr double k_legend_gap = 18;
constexpr Font k_figure_title{.size = 16, .bold = true, .color = k_ink};
constexpr Font k_figure_note{.size = 11};
constexpr Font k_panel_title{.size = 12, .bold = true, .color = k_ink};
constexpr Font k_panel_note{.size = 10};
constexpr double k_figure_title_row = 24, k_figure_note_row = 18, k_header_gap = 10;
constexpr double k_panel_title_row = 18, k_panel_note_row = 15, k_panel_header_gap = 3;
constexpr double k_panel_width = 330;
constexpr int k_max_columns = 3;

std::vector<LegendEntry> legend_of(const Panel& panel) {
  return std::visit([](const auto& content) { return legend(content); }, panel.content);
}

// Where everything stands.
struct Layout {
  double panel_width = 0, panel_height = 0;
  std::size_t columns = 0, rows = 0;
  std::vector<Margins> margins;                   // a panel
  std::vector<double> left, right;                // the largest of a column
  std::vector<double> top, bottom;                // the largest of a row
  std::vector<std::vector<LegendEntry>> legends;  // a panel; none where the figure has one for all
  std::vector<LegendEntry> common_legend;
  double width = 0, height = 0, legend_x = 0, grid_y = 0;

  Box box(std::size_t panel) const {
    const std::size_t column = panel % columns, row = panel / columns;
    double x = k_edge, y = grid_y;
    for (std::size_t i = 0; i < column; ++i) x += left[i] + panel_width + right[i] + k_panel_gap;
    for (std::size_t i = 0; i < row; ++i) y += top[i] + panel_height + bottom[i] + k_row_gap;
    return {x + left[column], y + top[row], panel_width, panel_height};
  }
};

double header_height(const Panel& panel) {
  const double rows =
      (panel.title.empty() ? 0 : k_panel_title_row) + (panel.note.empty() ? 0 : k_panel_note_row);
  return rows > 0 ? rows + k_panel_header_gap : 0;
}

double header_width(const Panel& panel, Canvas& canvas) {
  return std::max(canvas.text_width(panel.title, k_panel_title), canvas.text_width(panel.note, k_panel_note));
}

// One legend for all embeddings, or else for all lines, when there are several and all say the same. A legend
// of one panel stays with it.
void choose_legends(const Figure& figure, Layout& layout) {
  for (const Panel& panel : figure.panels) layout.legends.push_back(legend_of(panel));
  for (const bool lines : {false, true}) {
    std::vector<std::vector<LegendEntry>*> legends;
    for (auto& entries : layout.legends) {
      if (!entries.empty() && entries.front().line == lines) legends.push_back(&entries);
    }
    const bool same =
        std::ranges::all_of(legends, [&](auto* entries) { return *entries == *legends.front(); });
    if (legends.size() < 2 || !same) continue;
    layout.common_legend = *legends.front();
    for (auto* entries : legends) entries->clear();
    return;
  }
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

Layout layout_of(const Figure& figure, Canvas& canvas) {
  Layout layout;
  layout.panel_width = figure.panel_width > 0 ? figure.panel_width : k_panel_width;
  layout.panel_height = figure.panel_height;
  for (const Panel& panel : figure.panels) {
    if (figure.panel_height > 0) break;
    const double wish =
        std::visit([](const auto& content) { return preferred_height(content); }, panel.content);
    layout.panel_height = std::max(layout.panel_height, wish);
  }
  const std::size_t count = figure.panels.size();
  layout.columns = figure.columns > 0 ? static_cast<std::size_t>(figure.columns) : k_max_columns;
  layout.columns = std::min(layout.columns, count);
  layout.rows = (count + layout.columns - 1) / layout.columns;
  layout.left.resize(layout.columns);
  layout.right.resize(layout.columns);
  layout.top.resize(layout.rows);
  layout.bottom.resize(layout.rows);
  choose_legends(figure, layout);
  for (std::size_t i = 0; i < count; ++i) {
    const Panel& panel = figure.panels[i];
    Margins margin = std::visit([&](const auto& content) { return margins(content, canvas); }, panel.content);
    layout.margins.push_back(margin);
    margin.top += header_height(panel);
    const double entries = legend_width(layout.legends[i], layout.panel_height, canvas);
    if (entries > 0) margin.right += k_legend_gap + entries;
    margin.right = std::max(margin.right, header_width(panel, canvas) - layout.panel_width);
    const std::size_t column = i % layout.columns, row = i / layout.columns;
    layout.left[column] = std::max(layout.left[column], margin.left);
    layout.right[column] = std::max(layout.right[column], margin.right);
    layout.top[row] = std::max(layout.top[row], margin.top);
    layout.bottom[row] = std::max(layout.bottom[row], margin.bottom);
  }
  layout.grid_y = k_edge;
  if (!figure.title.empty()) layout.grid_y += k_figure_title_row;
  if (!figure.note.empty()) layout.grid_y += k_figure_note_row;
  if (layout.grid_y > k_edge) layout.grid_y += k_header_gap;
  layout.height = layout.grid_y + sum(layout.top) + sum(layout.bottom) + k_edge +
                  static_cast<double>(layout.rows) * (layout.panel_height + k_row_gap) - k_row_gap;
  const double grid_width = sum(layout.left) + sum(layout.right) +
                            static_cast<double>(layout.columns) * (layout.panel_width + k_panel_gap) -
                            k_panel_gap;
  // The common legend stands beside the first row.
  const std::size_t corner = layout.columns - 1;
  const double own = legend_width(layout.legends[corner], layout.panel_height, canvas);
  layout.legend_x = layout.box(corner).right() + layout.margins[corner].right + k_legend_gap +
                    (own > 0 ? own + k_legend_gap : 0);
  const double header = std::max(canvas.text_width(figure.title, k_figure_title),
                                 canvas.text_width(figure.note, k_figure_note));
  const double common = legend_width(layout.common_legend, layout.panel_height, canvas);
  layout.width =
      std::max({k_edge + grid_width, common > 0 ? layout.legend_x + common : 0, k_edge + header}) + k_edge;
  layout.width = std::ceil(layout.width);  // whole pixels
  layout.height = std::ceil(layout.height);
  return layout;
}

// The limits of panel i, or of all embeddings when they share them.
Limits limits_of(const Figure& figure, const Scatter& panel) {
  Limits all = limits(panel);
  if (!figure.same_scale) return all;
  for (const Panel& other : figure.panels) {
    const Scatter* scatter = std::get_if<Scatter>(&other.content);
    if (!scatter) continue;
    const Limits its = limits(*scatter);
    all = {std::min(all.min_x, its.min_x), std::max(all.max_x, its.max_x), std::min(all.min_y, its.min_y),
           std::max(all.max_y, its.max_y)};
  }
  return all;
}

void draw_header(const Panel& panel, Point corner, Canvas& canvas) {
  if (!panel.title.empty()) {
    corner.y += k_panel_title_row;
    canvas.text(panel.title, {corner.x, corner.y - 5}, k_panel_title);
  }
  if (!panel.note.empty()) canvas.text(panel.note, {corner.x, corner.y + k_panel_note_row - 4}, k_panel_note);
}

void draw_figure(const Figure& figure, const Layout& layout, Canvas& canvas) {
  double y = k_edge;
  if (!figure.title.empty()) {
    y += k_figure_title_row;
    canvas.text(figure.title, {k_edge, y - 8}, k_figure_title);
  }
  if (!figure.note.empty()) canvas.text(figure.note, {k_edge, y + k_figure_note_row - 6}, k_figure_note);
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    const Panel& panel = figure.panels[i];
    const Box box = layout.box(i);
    draw_header(panel, {box.x, box.y - layout.top[i / layout.columns]}, canvas);
    if (const Scatter* scatter = std::get_if<Scatter>(&panel.content)) {
      draw(*scatter, limits_of(figure, *scatter), canvas, box);
    } else {
      std::visit(
          [&]<class T>(const T& content) {
            if constexpr (!std::is_same_v<T, Scatter>) draw(content, canvas, box);
          },
          panel.content);
    }
    const double x = box.right() + layout.margins[i].right + k_legend_gap;
    draw_legend(layout.legends[i], canvas, {x, box.y, 0, box.height});
  }
  const Box first = layout.box(0);
  draw_legend(layout.common_legend, canvas, {layout.legend_x, first.y, 0, first.height});
}

void check_figure(const Figure& figure) {
  FLATLAND_CHECK(!figure.panels.empty(), "plot: the figure has no panels");
  FLATLAND_CHECK(figure.columns >= 0, "plot: columns is ", figure.columns);
  constexpr double k_max_side = 4000;
  for (const double side : {figure.panel_width, figure.panel_height}) {
    FLATLAND_CHECK(side >= 0 && side <= k_max_side, "plot: a panel of ", side, " points; allowed are 0 to ",
                   k_max_side);
  }
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    const Panel& panel = figure.panels[i];
    std::string who = "plot: panel ";
    who += panel.title.empty() ? std::to_string(i + 1) : "'" + panel.title + "'";
    std::visit([&](const auto& content) { check(content, who); }, panel.content);
  }
}

}  // namespace
}  // namespace plot

bool plot_available() {
  return true;
}

void save(const Figure& figure, const std::filesystem::path& path) {
  std::string format = path.extension().string();
  for (char& c : format) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  FLATLAND_CHECK(plot::Canvas::knows(format), path.string(),
                 ": a picture's name ends with .png, .svg or .pdf");
  plot::check_figure(figure);
  const std::string font = figure.font.empty() ? "Helvetica" : figure.font;
  plot::Canvas ruler(1, 1, ".png", font);
  const plot::Layout layout = plot::layout_of(figure, ruler);
  plot::Canvas canvas(layout.width, layout.height, format, font);
  plot::draw_figure(figure, layout, canvas);
  write_file(path, canvas.finish());
}

}  // namespace flatland
