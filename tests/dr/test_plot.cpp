// dr/plot.h.
#include <flatland/dr/file.h>
#include <flatland/dr/plot.h>

#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>

#include "tests/support/errors.h"
#include "tests/support/temp_file.h"

using namespace flatland;
using flatland::test::contains;
using flatland::test::error_of;
using flatland::test::TempFile;

namespace {

Scatter scatter(std::int64_t n) {
  std::vector<float> points;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < n; ++i) {
    points.push_back(static_cast<float>(std::cos(0.1 * static_cast<double>(i))));
    points.push_back(static_cast<float>(i % 17));
    labels.push_back(i % 4);
  }
  return {.points = Tensor::from(points, {n, 2}), .labels = Tensor::from(labels)};
}

Figure one(Panel panel) {
  Figure figure;
  figure.panels.push_back(std::move(panel));
  return figure;
}

std::string drawn(const Figure& figure, const std::string& ending) {
  const TempFile file(ending);
  save(figure, file.path());
  return read_file(file.path());
}

// Of the picture, in points.
double width_of(const Figure& figure) {
  const std::string svg = drawn(figure, ".svg");
  return std::stod(svg.substr(svg.find(" width=\"") + 8));
}

std::string fault(Panel panel) {
  return error_of([&] { drawn(one(std::move(panel)), ".svg"); });
}

std::vector<Figure> one_of_each() {
  Scatter by_value = scatter(30);
  by_value.labels = {};
  by_value.values = Tensor::arange(30).to(Dtype::float32);
  by_value.values_name = "progress";
  Scatter plain = scatter(3);
  plain.labels = {};
  Scatter named = scatter(50);
  named.classes = {"a", "b", "c", "d"};
  named.name_classes = true;
  Scatter sized = scatter(40);
  sized.sizes = Tensor::arange(40);
  const Lines lines{
      .lines = {{.name = "loss", .y = {3, 2, NAN, 1, NAN}}, {.name = "other", .y = {1, 5}, .x = {0, 4}}},
      .x = {.name = "epoch"},
      .y = {.name = "value", .log = true}};
  const Bars bars{.names = {"one", "two \xc3\xa9"}, .values = {-1, 2}};
  const HeatMap heat{
      .values = Tensor::of({{1, 2, 3}, {4, NAN, 6}}), .row_names = {"x", "y"}, .write_values = true};
  const Images images{.pixels = Tensor::ones({5, 6}), .height = 2, .width = 3};
  return {one({.title = "classes", .note = "note", .content = scatter(200)}),
          {.title = "all",
           .note = "of them",
           .panels = {{.content = by_value},
                      {.content = plain},
                      {.content = named},
                      {.content = sized},
                      {.content = lines},
                      {.content = bars},
                      {.content = heat},
                      {.content = images}},
           .columns = 4}};
}

}  // namespace

TEST_CASE("without Cairo saving says what to do" * doctest::skip(plot_available())) {
  CHECK(contains(error_of([] { save({}, "x.png"); }), "x.png: this build draws no pictures; configure with"));
}

TEST_SUITE_BEGIN("drawing" * doctest::skip(!plot_available()));

TEST_CASE("the name's ending says the format") {
  for (const Figure& figure : one_of_each()) {
    CHECK(drawn(figure, ".png").starts_with("\x89PNG\r\n"));
    CHECK(drawn(figure, ".PNG").starts_with("\x89PNG\r\n"));
    CHECK(contains(drawn(figure, ".svg").substr(0, 300), "<svg "));
    CHECK(drawn(figure, ".svg").ends_with("</svg>\n"));
    CHECK(drawn(figure, ".pdf").starts_with("%PDF"));
  }
}

TEST_CASE("the same figure gives the same bytes") {
  for (const std::string ending : {".png", ".svg", ".pdf"}) {
    for (const Figure& figure : one_of_each()) {
      CAPTURE(ending);
      const bool same = drawn(figure, ending) == drawn(figure, ending);
      CHECK(same);
    }
    Figure other = one_of_each()[0];
    other.panels[0].title = "another";
    CHECK(drawn(other, ending) != drawn(one_of_each()[0], ending));
  }
}

TEST_CASE("points may have sizes") {
  Scatter plain = scatter(30), equal = plain, unequal = plain;
  equal.sizes = Tensor::full({30}, 2);
  unequal.sizes = Tensor::arange(30);
  const std::string picture = drawn(one({.content = plain}), ".svg");
  CHECK(drawn(one({.content = equal}), ".svg") == picture);
  CHECK(drawn(one({.content = unequal}), ".svg") != picture);
}

TEST_CASE("many points stay small in SVG, few stay shapes") {
  CHECK(drawn(one({.content = scatter(20000)}), ".svg").size() < 2'000'000);
  CHECK(!contains(drawn(one({.content = scatter(500)}), ".svg"), "<image"));
}

TEST_CASE("odd sizes: one point, equal points, huge and tiny values, many classes, long names") {
  const auto draws = [](const Scatter& content) { return !drawn(one({.content = content}), ".png").empty(); };
  CHECK(draws(scatter(1)));
  CHECK(draws({.points = Tensor::ones({50, 2})}));
  CHECK(draws({.points = Tensor::of({{0, -1e308}, {1, 1e308}}, Dtype::float64)}));
  CHECK(draws({.points = Tensor::of({{0, 1e-300}, {1e-300, 0}}, Dtype::float64)}));
  Scatter many = scatter(300);
  many.labels = Tensor::arange(300);
  CHECK(draws(many));
  many.labels = Tensor::full({300}, -1, Dtype::int64);  // no class at all
  CHECK(draws(many));
  many = scatter(300);
  many.classes = {std::string(500, 'w'), "", "\xe6\x97\xa5\xe6\x9c\xac", "d"};
  CHECK(draws(many));
  CHECK(!drawn(one({.content = Lines{.lines = {{.y = {5}}}}}), ".png").empty());
  CHECK(
      !drawn(one({.content = Lines{.lines = {{.y = std::vector<double>(100000, 1e-12)}}}}), ".png").empty());
  CHECK(!drawn(one({.content = Bars{.names = {"zero"}, .values = {0}}}), ".png").empty());
  CHECK(!drawn(one({.content = HeatMap{.values = Tensor::zeros({200, 300})}}), ".png").empty());
}

TEST_CASE("an SVG's images keep their pixels apart where a viewer smooths") {
  const Images images{.pixels = Tensor::ones({5, 6}), .height = 2, .width = 3};
  CHECK(contains(drawn(one({.content = images}), ".svg"), "<image"));
  CHECK(contains(drawn(one({.content = images}), ".svg"), " width=\"1320\""));  // 4 a point, not 11 in all
}

TEST_CASE("a title wider than its panel makes the picture wider") {
  const Panel narrow{.title = "short", .note = "note", .content = scatter(10)};
  Panel wide = narrow;
  wide.note = std::string(120, 'w');
  const double usual = width_of({.panels = {narrow, narrow}});
  CHECK(width_of({.panels = {narrow, wide}}) > usual + 300);
  CHECK(width_of({.panels = {wide, narrow}}) > usual + 300);
}

TEST_CASE("embeddings share a legend, also beside lines, which keep their own") {
  const Lines lines{.lines = {{.name = "m", .y = {1, 2}}, {.name = "n", .y = {2, 1}}}};
  Scatter plain = scatter(20);
  plain.labels = {};
  const auto letters = [&](const Scatter& second) {
    const std::string svg =
        drawn({.panels = {{.content = scatter(20)}, {.content = second}, {.content = lines}}}, ".svg");
    std::size_t count = 0;
    for (std::size_t at = 0; (at = svg.find("#glyph", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  CHECK(letters(scatter(30)) == letters(plain));
  // One stands above the other: the lines' names make the picture no wider.
  const Lines unnamed{.lines = {{.y = {1, 2}}, {.y = {2, 1}}}};
  const auto width = [](const Lines& last) {
    return width_of(
        {.panels = {{.content = scatter(20)}, {.content = scatter(30)}, {.content = last}}, .columns = 1});
  };
  CHECK(std::abs(width(lines) - width(unnamed)) < 15);
}

TEST_CASE("a heat map of both signs is white at 0 and equally strong on either side") {
  const auto with_span = [](double span) {
    return drawn(one({.content = HeatMap{.values = Tensor::of({{-1, 0, 2}}), .span = span}}), ".svg");
  };
  const std::string blue = "rgb(12.941176%,40%,67.45098%)", red = "rgb(69.803922%,9.411765%,16.862745%)";
  CHECK(contains(with_span(1), blue));
  CHECK(contains(with_span(1), red));
  CHECK(!contains(with_span(2), blue));
  CHECK(contains(with_span(2), red));
  CHECK(!contains(with_span(4), red));
}

TEST_CASE("the values of a heat map have as many digits each") {
  const auto characters = [](double a, double b) {
    const std::string svg = drawn(
        one({.content = HeatMap{.values = Tensor::of({{a, b}}), .write_values = true, .span = 2}}), ".svg");
    std::size_t n = 0;
    for (std::size_t at = svg.find("<use"); at != std::string::npos; at = svg.find("<use", at + 1)) ++n;
    return n;
  };
  CHECK(characters(1, 1.5) == characters(1.25, 1.5));
  CHECK(characters(1, 1.5) == characters(1, 2) + 6);  // .00 and .50
}

TEST_CASE("panels of one map may share their scale") {
  Figure figure{.panels = {{.content = scatter(100)}, {.content = scatter(8)}}};
  const std::string own = drawn(figure, ".svg");
  figure.same_scale = true;
  CHECK(drawn(figure, ".svg") != own);
}

TEST_CASE("the only legend stands beside its panel, not beyond all others") {
  const Panel lines{.content =
                        Lines{.lines = {{.name = "training", .y = {1, 2}}, {.name = "b", .y = {2, 3}}}}};
  const Panel map{.content = HeatMap{.values = Tensor::of({{1, 2}, {3, 4}}), .values_name = "wide name"}};
  const auto below_each_other = [](std::vector<Panel> panels) {
    return width_of({.panels = std::move(panels), .columns = 1});
  };
  const double each = std::max(below_each_other({lines}), below_each_other({map}));
  CHECK(below_each_other({lines, map}) == each);
}

TEST_CASE("class names stand in the map or in a legend") {
  Scatter named = scatter(50);
  const double with_legend = width_of(one({.content = named}));
  named.name_classes = true;
  CHECK(width_of(one({.content = named})) < with_legend - 20);
}

TEST_CASE("errors name the panel and the reason") {
  const Panel good{.title = "train", .content = scatter(10)};
  CHECK(fault(good).empty());
  CHECK(contains(error_of([&] { save(one(good), "x.gif"); }),
                 "x.gif: a picture's name ends with .png, .svg or .pdf"));
  CHECK(contains(error_of([&] { save(one(good), "x"); }), "a picture's name ends with"));
  CHECK(contains(error_of([&] { save(one(good), "nowhere/x.png"); }), "nowhere/x.png: cannot write"));
  CHECK(contains(error_of([&] { save({}, "x.png"); }), "the figure has no panels"));
  CHECK(contains(fault({}), "plot: panel 1: points must be (N, 2)"));
  CHECK(contains(fault({.title = "t", .content = Scatter{.points = Tensor::zeros({0, 2})}}),
                 "plot: panel 't': there are no points"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::zeros({4, 3})}}), "points must be (N, 2)"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::of({{0, 1}, {2, NAN}, {NAN, NAN}})}}),
                 "point 1 is NaN or infinite (and 2 coordinates more)"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::zeros({4, 2}), .labels = Tensor::arange(3)}}),
                 "4 points but 3 labels"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::zeros({4, 2}), .labels = Tensor::zeros({4})}}),
                 "labels must be int64 or int32"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::zeros({1, 2}),
                                           .labels = Tensor::full({1}, 1e9, Dtype::int64)}}),
                 "label 1000000000 is no class"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::zeros({4, 2}), .values = Tensor::zeros({3})}}),
                 "4 points but 3 values"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::zeros({4, 2}), .sizes = Tensor::zeros({3})}}),
                 "4 points but 3 sizes"));
  CHECK(contains(fault({.content = Scatter{.points = Tensor::zeros({1, 2}), .sizes = Tensor::full({1}, -1)}}),
                 "a size is -1; sizes are finite and not below 0"));
  CHECK(contains(fault({.content = Lines{}}), "there is nothing to draw"));
  CHECK(contains(fault({.content = Lines{.lines = {{.name = "a", .y = {1, 2}, .x = {1}}}}}),
                 "line 'a' has 1 x but 2 y"));
  CHECK(contains(fault({.content = Lines{.lines = {{.y = {1, 0}}}, .y = {.log = true}}}),
                 "a logarithmic y axis cannot show 0"));
  CHECK(contains(fault({.content = Bars{.names = {"a"}, .values = {}}}), "there are no bars"));
  CHECK(contains(fault({.content = Bars{.names = {"a"}, .values = {NAN}}}), "bar 'a' is NaN or infinite"));
  CHECK(contains(fault({.content = HeatMap{.values = Tensor::zeros({2, 2}), .row_names = {"a"}}}),
                 "2 rows but 1 names"));
  CHECK(contains(fault({.content = HeatMap{.values = Tensor::zeros({2, 2}), .span = -1}}), "span is -1"));
  CHECK(contains(fault({.content = Images{.pixels = Tensor::zeros({2, 5}), .height = 2, .width = 3}}),
                 "5 pixels are not 2 x 3"));
  if (std::filesystem::exists("/dev/full")) {
    const std::filesystem::path link = std::filesystem::temp_directory_path() / "flatland_full_disk.png";
    std::filesystem::remove(link);
    std::filesystem::create_symlink("/dev/full", link);
    CHECK(contains(error_of([&] { save(one(good), link); }), "No space left"));
    std::filesystem::remove(link);
  }
}

TEST_SUITE_END();
