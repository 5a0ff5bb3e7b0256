#include <flatland/dr/plot/panel.h>
#include <flatland/dr/plot/ticks.h>

#include <cmath>

namespace flatland::plot {
namespace {

constexpr double k_exponent_size = 0.72;  // of the font's size
constexpr double k_exponent_raise = 0.38;

Font exponent_font(const Font& font) {
  Font small = font;
  small.size *= k_exponent_size;
  return small;
}

}  // namespace

Scale::Scale(double min, double max, bool log, double from, double to)
    : min_(log ? std::log10(min) : min), max_(log ? std::log10(max) : max), from_(from), to_(to), log_(log) {}

double Scale::operator()(double value) const {
  const double at = log_ ? std::log10(value) : value;
  return max_ > min_ ? from_ + (at - min_) / (max_ - min_) * (to_ - from_) : (from_ + to_) / 2;
}

double tick_label_width(const Tick& tick, Canvas& canvas, const Font& font) {
  const double width = canvas.text_width(tick.label, font);
  return tick.exponent.empty() ? width : width + canvas.text_width(tick.exponent, exponent_font(font));
}

void draw_tick_label(const Tick& tick, Canvas& canvas, Point baseline, const Font& font, Align align) {
  const double width = tick_label_width(tick, canvas, font);
  baseline.x -= align == Align::right ? width : align == Align::center ? width / 2 : 0;
  canvas.text(tick.label, baseline, font);
  if (tick.exponent.empty()) return;
  const Point raised{baseline.x + canvas.text_width(tick.label, font),
                     baseline.y - k_exponent_raise * font.size};
  canvas.text(tick.exponent, raised, exponent_font(font));
}

std::string shortened(const std::string& text, double width, const Font& font, Canvas& canvas) {
  if (canvas.text_width(text, font) <= width) return text;
  std::string kept = text;
  const auto cut_one = [&] {
    // A character of UTF-8 is a lead byte and those of the form 10xxxxxx behind it.
    while (!kept.empty() && (static_cast<unsigned char>(kept.back()) & 0xC0) == 0x80) kept.pop_back();
    if (!kept.empty()) kept.pop_back();
  };
  do {
    cut_one();
  } while (!kept.empty() && canvas.text_width(kept + "\xe2\x80\xa6", font) > width);
  return kept + "\xe2\x80\xa6";
}

}  // namespace flatland::plot
