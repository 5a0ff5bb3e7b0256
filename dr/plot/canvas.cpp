#include <flatland/dr/plot/canvas.h>
#include <flatland/kernels/check.h>

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <cairo.h>
#include <algorithm>
#include <cmath>
#include <cstring>

namespace flatland::plot {
namespace {

constexpr double k_pi = 3.14159265358979323846;
constexpr double k_png_scale = 2;            // pixels a point
constexpr double k_vector_scale = 4;         // pixels a point where dots or cells become a picture
constexpr std::size_t k_vector_dots = 6000;  // up to so many stay shapes

cairo_status_t append(void* text, const unsigned char* bytes, unsigned int length) {
  static_cast<std::string*>(text)->append(reinterpret_cast<const char*>(bytes), length);
  return CAIRO_STATUS_SUCCESS;
}

void check_cairo(cairo_status_t status) {
  FLATLAND_CHECK(status == CAIRO_STATUS_SUCCESS, "plot: Cairo: ", cairo_status_to_string(status));
}

// Cairo numbers surfaces and glyphs over the whole process; here they are numbered anew, by first appearance.
std::string renumbered(const std::string& svg) {
  std::string result;
  std::vector<std::string> seen;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t at = 0;
  while (at < svg.size()) {
    std::size_t begin = std::string::npos;
    for (const std::string_view mark : {"id=\"", "href=\"#", "url(#"}) {
      begin =
          std::min(begin, svg.find(mark, at) == std::string::npos ? begin : svg.find(mark, at) + mark.size());
    }
    if (begin == std::string::npos) break;
    std::size_t digits = begin;
    while (digits < svg.size() &&
           (std::isalpha(static_cast<unsigned char>(svg[digits])) || svg[digits] == '_'))
      ++digits;
    std::size_t end = digits;
    while (end < svg.size() && is_digit(svg[end])) ++end;
    result.append(svg, at, digits - at);
    if (end > digits) {
      const std::string id = svg.substr(begin, end - begin);
      const auto found = std::ranges::find(seen, id);
      result += std::to_string(found - seen.begin());
      if (found == seen.end()) seen.push_back(id);
    }
    at = end;
  }
  return result.append(svg, at);
}

}  // namespace

struct Canvas::State {
  std::string format;
  std::string bytes;
  cairo_surface_t* surface = nullptr;
  cairo_t* cr = nullptr;

  ~State() {
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
  }
  void color(const Color& c) { cairo_set_source_rgba(cr, c.r, c.g, c.b, c.a); }
  void choose(const Font& font, const std::string& family) {
    cairo_select_font_face(cr, family.c_str(), CAIRO_FONT_SLANT_NORMAL,
                           font.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, font.size);
  }
  std::string family;
};

bool Canvas::knows(const std::string& format) {
  return format == ".png" || format == ".svg" || format == ".pdf";
}

Canvas::Canvas(double width, double height, const std::string& format, const std::string& font)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.format = format;
  s.family = font;
  if (format == ".svg") {
    s.surface = cairo_svg_surface_create_for_stream(append, &s.bytes, width, height);
  } else if (format == ".pdf") {
    s.surface = cairo_pdf_surface_create_for_stream(append, &s.bytes, width, height);
    // The same figure gives the same bytes, so the file does not say when it was made.
    cairo_pdf_surface_set_metadata(s.surface, CAIRO_PDF_METADATA_CREATE_DATE, "2000-01-01T00:00:00Z");
  } else {
    s.surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(std::ceil(width * k_png_scale)),
                                   static_cast<int>(std::ceil(height * k_png_scale)));
    cairo_surface_set_device_scale(s.surface, k_png_scale, k_png_scale);
  }
  check_cairo(cairo_surface_status(s.surface));
  s.cr = cairo_create(s.surface);
  check_cairo(cairo_status(s.cr));
  cairo_font_options_t* options = cairo_font_options_create();
  cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
  cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
  cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
  cairo_set_font_options(s.cr, options);
  cairo_font_options_destroy(options);
  fill({0, 0, width, height}, k_white);
}

Canvas::~Canvas() = default;

void Canvas::line(Point from, Point to, Color color, double width) {
  const Point points[] = {from, to};
  polyline(points, color, width);
}

void Canvas::polyline(std::span<const Point> points, Color color, double width) {
  State& s = *state_;
  if (points.empty()) return;
  cairo_move_to(s.cr, points[0].x, points[0].y);
  for (const Point& p : points.size() > 1 ? points.subspan(1) : points) cairo_line_to(s.cr, p.x, p.y);
  s.color(color);
  cairo_set_line_width(s.cr, width);
  cairo_set_line_join(s.cr, CAIRO_LINE_JOIN_ROUND);
  cairo_set_line_cap(s.cr, points.size() > 2 ? CAIRO_LINE_CAP_ROUND : CAIRO_LINE_CAP_BUTT);
  cairo_stroke(s.cr);
}

void Canvas::fill(const Box& box, Color color) {
  cairo_rectangle(state_->cr, box.x, box.y, box.width, box.height);
  state_->color(color);
  cairo_fill(state_->cr);
}

void Canvas::frame(const Box& box, Color color, double width) {
  cairo_rectangle(state_->cr, box.x, box.y, box.width, box.height);
  state_->color(color);
  cairo_set_line_width(state_->cr, width);
  cairo_set_line_join(state_->cr, CAIRO_LINE_JOIN_MITER);
  cairo_stroke(state_->cr);
}

void Canvas::dots(std::span<const Dot> dots, Color edge, double edge_width, const Box& area) {
  State& s = *state_;
  const auto draw = [&](cairo_t* cr) {
    for (const Dot& dot : dots) {
      cairo_new_path(cr);  // text leaves a point behind
      cairo_arc(cr, dot.at.x, dot.at.y, dot.diameter / 2, 0, 2 * k_pi);
      cairo_set_source_rgba(cr, dot.color.r, dot.color.g, dot.color.b, dot.color.a);
      if (edge_width <= 0) {
        cairo_fill(cr);
        continue;
      }
      cairo_fill_preserve(cr);
      cairo_set_source_rgba(cr, edge.r, edge.g, edge.b, edge.a);
      cairo_set_line_width(cr, edge_width);
      cairo_stroke(cr);
    }
  };
  if (s.format == ".png" || dots.size() <= k_vector_dots) return draw(s.cr);

  cairo_surface_t* image = cairo_image_surface_create(
      CAIRO_FORMAT_ARGB32, static_cast<int>(std::ceil(area.width * k_vector_scale)),
      static_cast<int>(std::ceil(area.height * k_vector_scale)));
  cairo_surface_set_device_scale(image, k_vector_scale, k_vector_scale);
  cairo_surface_set_device_offset(image, -area.x * k_vector_scale, -area.y * k_vector_scale);
  cairo_t* cr = cairo_create(image);
  draw(cr);
  cairo_destroy(cr);
  cairo_set_source_surface(s.cr, image, 0, 0);
  cairo_paint(s.cr);
  cairo_surface_destroy(image);
}

void Canvas::pixels(const std::vector<Color>& colors, int width, int height, const Box& box) {
  State& s = *state_;
  // A viewer of SVG or PDF smooths what it enlarges, so each pixel becomes many.
  const auto copies = [&](double side, int n) {
    return s.format == ".png" ? 1 : std::max(1, static_cast<int>(std::ceil(k_vector_scale * side / n)));
  };
  const int across = copies(box.width, width), down = copies(box.height, height);
  const int fine_width = across * width, fine_height = down * height;
  cairo_surface_t* image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, fine_width, fine_height);
  check_cairo(cairo_surface_status(image));
  unsigned char* rows = cairo_image_surface_get_data(image);
  const int stride = cairo_image_surface_get_stride(image);
  const auto byte = [](double value) { return static_cast<std::uint32_t>(std::lround(255 * value)); };
  for (int i = 0; i < fine_height; ++i) {
    for (int j = 0; j < fine_width; ++j) {
      const Color& c = colors[static_cast<std::size_t>(i / down) * static_cast<std::size_t>(width) +
                              static_cast<std::size_t>(j / across)];
      const std::uint32_t pixel = byte(c.r) << 16 | byte(c.g) << 8 | byte(c.b);
      std::memcpy(rows + static_cast<std::ptrdiff_t>(i) * stride + 4 * j, &pixel, 4);
    }
  }
  cairo_surface_mark_dirty(image);
  cairo_save(s.cr);
  cairo_translate(s.cr, box.x, box.y);
  cairo_scale(s.cr, box.width / fine_width, box.height / fine_height);
  cairo_set_source_surface(s.cr, image, 0, 0);
  cairo_pattern_set_filter(cairo_get_source(s.cr), CAIRO_FILTER_NEAREST);
  cairo_rectangle(s.cr, 0, 0, fine_width, fine_height);
  cairo_fill(s.cr);
  cairo_restore(s.cr);
  cairo_surface_destroy(image);
}

void Canvas::clip(const Box& box) {
  cairo_save(state_->cr);
  cairo_rectangle(state_->cr, box.x, box.y, box.width, box.height);
  cairo_clip(state_->cr);
}

void Canvas::unclip() {
  cairo_restore(state_->cr);
}

double Canvas::text_width(const std::string& text, const Font& font) {
  state_->choose(font, state_->family);
  cairo_text_extents_t extents;
  cairo_text_extents(state_->cr, text.c_str(), &extents);
  check_cairo(cairo_status(state_->cr));
  return extents.x_advance;
}

void Canvas::text(const std::string& text, Point baseline, const Font& font, Align align, bool halo) {
  State& s = *state_;
  const double width = align == Align::left ? 0 : text_width(text, font);
  const double x = baseline.x - (align == Align::right ? width : align == Align::center ? width / 2 : 0);
  s.choose(font, s.family);
  if (halo) {
    cairo_move_to(s.cr, x, baseline.y);
    cairo_text_path(s.cr, text.c_str());
    s.color(k_white.with_alpha(0.85));
    cairo_set_line_width(s.cr, font.size / 4);
    cairo_set_line_join(s.cr, CAIRO_LINE_JOIN_ROUND);
    cairo_stroke(s.cr);
  }
  cairo_move_to(s.cr, x, baseline.y);
  s.color(font.color);
  cairo_show_text(s.cr, text.c_str());
}

std::string Canvas::finish() {
  State& s = *state_;
  check_cairo(cairo_status(s.cr));
  if (s.format == ".png") check_cairo(cairo_surface_write_to_png_stream(s.surface, append, &s.bytes));
  cairo_surface_finish(s.surface);
  check_cairo(cairo_surface_status(s.surface));
  return s.format == ".svg" ? renumbered(s.bytes) : std::move(s.bytes);
}

}  // namespace flatland::plot
