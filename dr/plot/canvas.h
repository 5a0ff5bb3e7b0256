// What panels are drawn on: lines, areas, points and text in points of 1/72 inch, y downwards.
#pragma once

#include <flatland/dr/plot/color.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace flatland::plot {

struct Point {
  double x = 0, y = 0;
};

struct Box {
  double x = 0, y = 0, width = 0, height = 0;

  double right() const { return x + width; }
  double bottom() const { return y + height; }
};

enum class Align { left, center, right };

struct Font {
  double size = 10;
  bool bold = false;
  Color color = k_text;
};

struct Dot {
  Point at;
  Color color;
  double diameter = 0;
};

class Canvas {
 public:
  // Pages without size serve to measure text.
  Canvas(double width, double height, const std::string& format, const std::string& font);
  ~Canvas();
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;

  static bool knows(const std::string& format);  // ".png", ".svg", ".pdf"

  void line(Point from, Point to, Color color, double width);
  void polyline(std::span<const Point> points, Color color, double width);
  void fill(const Box& box, Color color);
  void frame(const Box& box, Color color, double width);
  // Filled circles in the given order; more than a few thousand become one picture in SVG and PDF.
  void dots(std::span<const Dot> dots, Color edge, double edge_width, const Box& area);
  // A picture of width x height pixels (red, green, blue in sRGB), with sharp edges between the pixels.
  void pixels(const std::vector<Color>& colors, int width, int height, const Box& box);
  void clip(const Box& box);
  void unclip();

  double text_width(const std::string& text, const Font& font);
  // `baseline` is where letters stand. With `halo` the text gets a white edge.
  void text(const std::string& text, Point baseline, const Font& font, Align align = Align::left,
            bool halo = false);

  // The finished file; the canvas cannot be drawn on afterwards.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flatland::plot
