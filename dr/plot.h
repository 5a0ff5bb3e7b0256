// Pictures: a grid of panels, written as PNG, SVG or PDF.
//   save({.title = "Digits", .panels = {{.title = "train", .content = Scatter{.points = y, .labels =
//   digits}}}},
//        "digits.png");
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace flatland {

// An embedding: equal scales on both axes, no ticks. Colour by class (labels), by number (values) or none.
struct Scatter {
  Tensor points = {};                     // (N, 2)
  Tensor labels = {};                     // (N) int64 or int32
  std::vector<std::string> classes = {};  // the name of label 0, 1, ...; by default its number
  Tensor values = {};                     // (N)
  std::string values_name = {};           // beside the colour bar
  bool name_classes = false;              // write the name of each class at its middle, not into a legend
  double size = 0;                        // diameter of a point in points of 1/72 inch; 0: by their number
  Tensor sizes = {};                      // (N) numbers that the points' areas show; the largest has `size`
  double opacity = 0;                     // 0 .. 1; 0: by their number
};

struct Axis {
  std::string name = {};
  bool log = false;
  std::optional<double> min = {};  // default: from the data
  std::optional<double> max = {};
};

// Lines over a common x axis. Where y is NaN the line has a gap.
struct Line {
  std::string name = {};
  std::vector<double> y = {};
  std::vector<double> x = {};  // default: 1, 2, ...
};
struct Lines {
  std::vector<Line> lines = {};
  Axis x = {};
  Axis y = {};
};

// Horizontal bars with their values behind them.
struct Bars {
  std::vector<std::string> names = {};
  std::vector<double> values = {};
  Axis axis = {};
  int digits = 3;  // of the values, after the point
};

// A matrix of colours, the first row on top.
struct HeatMap {
  Tensor values = {};  // (R, C)
  std::vector<std::string> row_names = {};
  std::vector<std::string> column_names = {};
  std::string rows_name = {};
  std::string columns_name = {};
  std::string values_name = {};
  bool write_values = false;  // in the cells
  // Above 0: colours run from blue at -span over white at 0 to red at span, in this panel as in its
  // neighbours.
  double span = 0;  // 0: from the smallest value to the largest
};

// Small grey images in rows and columns.
struct Images {
  Tensor pixels = {};  // (N, height width), 0 is white and 1 black
  std::int64_t height = 0;
  std::int64_t width = 0;
  int columns = 0;  // 0: about as many as rows
};

struct Panel {
  std::string title = {};
  std::string note = {};  // a grey line under the title
  std::variant<Scatter, Lines, Bars, HeatMap, Images> content = {};
};

struct Figure {
  std::string title = {};
  std::string note = {};  // a grey line under the title
  std::vector<Panel> panels = {};
  int columns = 0;  // 0: at most three
  // Embeddings of one map keep each place where it is; off, each panel fills its own frame.
  bool same_scale = false;
  double panel_width = 0;   // of the inner part, in points of 1/72 inch; 0: 330
  double panel_height = 0;  // 0: 330, or 220 when all panels are lines or bars
  std::string font = {};    // a family; default: Helvetica or what the system takes for it
};

// True in a build with Cairo.
bool plot_available();

// Writes the picture; the name's ending says the format (.png, .svg, .pdf). The same figure gives the same
// bytes. Errors: a build without Cairo; another ending; unwritable or full disk; no panels; no points, NaN or
// infinite points, labels of another length, values that a logarithmic axis cannot show.
void save(const Figure& figure, const std::filesystem::path& path);

}  // namespace flatland
