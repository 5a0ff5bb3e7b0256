// Two linear maps of a diabetes study: one learns the principal components from their coordinates, the other
// learns metric multidimensional scaling from all distances, and spans the plane of the first two components.
#include "examples/support/console.h"
#include "examples/support/options.h"
#include "examples/support/results.h"

#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/pca.h>
#include <flatland/dr/readers.h>
#include <flatland/engine/ops.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{.name = "mds",
                        .purpose = "Learns principal components and metric scaling by linear maps.",
                        .data_help = "diabetes.csv, a table whose last column is left out",
                        .defaults = {.data = FLATLAND_EXAMPLE_DATA "/diabetes.csv", .out = "out/mds"}};

// y = x W^T.
class LinearMap : public Model {
 public:
  LinearMap(std::int64_t in, std::int64_t out)
      : in_(in), layer_(std::make_shared<Linear>(in, out, Linear::Options{.bias = false})) {
    add_child("layer", layer_);
    initialize(0);
  }
  Tensor encode(const Tensor& x) const override { return layer_->forward(x); }
  std::string name() const override { return "LinearMap"; }
  std::int64_t in_dim() const override { return in_; }
  bool replayable() const override { return true; }

 private:
  std::int64_t in_;
  std::shared_ptr<Linear> layer_;
};

// Columns of mean 0 and length 1.
Tensor scaled(const Tensor& x) {
  const Tensor centred = x - mean(x, 0);
  return centred / sqrt(sum(square(centred), 0));
}

Tensor weights_of(const ParametricDR& routine) {
  return routine.model().parameters().front().tensor.detach().to(Device::cpu);
}

// Cosines of the angles between the planes that two pairs of rows span, the larger first.
std::array<double, 2> plane_cosines(const Tensor& a, const Tensor& b) {
  const auto dot = [](const std::vector<double>& u, const std::vector<double>& v) {
    double total = 0;
    for (std::size_t i = 0; i < u.size(); ++i) total += u[i] * v[i];
    return total;
  };
  const auto basis = [&](const Tensor& rows) {
    std::array<std::vector<double>, 2> q{slice_rows(rows, 0, 1).to_vector<double>(),
                                         slice_rows(rows, 1, 2).to_vector<double>()};
    const double along = dot(q[0], q[1]) / dot(q[0], q[0]);
    for (std::size_t i = 0; i < q[1].size(); ++i) q[1][i] -= along * q[0][i];
    for (auto& v : q) {
      const double length = std::sqrt(dot(v, v));
      for (double& x : v) x /= length;
    }
    return q;
  };
  const auto p = basis(a), q = basis(b);
  const double m00 = dot(p[0], q[0]), m01 = dot(p[0], q[1]), m10 = dot(p[1], q[0]), m11 = dot(p[1], q[1]);
  // Singular values of the 2 x 2 matrix.
  const double squares = m00 * m00 + m01 * m01 + m10 * m10 + m11 * m11;
  const double determinant = std::abs(m00 * m11 - m01 * m10);
  const double spread = std::sqrt(std::max(0.0, squares * squares - 4 * determinant * determinant));
  return {std::sqrt((squares + spread) / 2), std::sqrt(std::max(0.0, squares - spread) / 2)};
}

Panel heat_map(const std::string& title, const std::string& note, const Tensor& weights,
               const std::string& row, const std::vector<std::string>& attributes, double span) {
  std::vector<std::string> rows;
  for (std::int64_t i = 0; i < weights.size(0); ++i) rows.push_back(row + " " + std::to_string(i + 1));
  return {.title = title,
          .note = note,
          .content = HeatMap{.values = weights, .row_names = rows, .column_names = attributes, .span = span}};
}

void mds(const Options& options) {
  Report report = report_of(k_program, options);
  const Table table = read_csv(options.data);
  const std::vector<std::string> attributes(table.names().begin(), table.names().end() - 1);
  const Tensor x = scaled(table.numbers(attributes));
  const std::int64_t columns = x.size(1);
  const Pca pca = Pca::fit(x, columns);

  report.begin_run("components");
  ParametricDR components({.model = LinearMap(columns, columns),
                           .losses = PositionLoss{.position_key = "pca"},
                           .device = options.device,
                           .threads = options.threads,
                           .seed = options.seed,
                           .on_event = show(report)});
  components.add_training_phase({.name = "components", .epochs = options.quick ? 5 : 20, .batch_size = 50});
  components.train({{"main", x}, {"pca", pca.transform(x)}});
  report.parameters(components.model());
  const Tensor learned = weights_of(components);
  const std::vector<double> errors = abs(learned - pca.components).to_vector<double>();
  const double error = *std::ranges::max_element(errors);
  report.metric("train", "largest_error", error);

  report.begin_run("scaling");
  const auto sum_of_squares = [](const Tensor& p, const Tensor& q) { return sum(square(p - q)); };
  ParametricDR scaling({.model = LinearMap(columns, 2),
                        .global_relations = PDist{},
                        .batch_relations = DifferentiablePDist{},
                        .losses = RelationLoss{.f = sum_of_squares, .normalize_sub = false},
                        .device = options.device,
                        .threads = options.threads,
                        .seed = options.seed,
                        .on_event = show(report)});
  scaling.add_training_phase({.name = "scaling",
                              .epochs = options.quick ? 50 : 500,
                              .sampling = Sampling::whole,
                              .report_interval = 50});
  scaling.train(x);
  report.parameters(scaling.model());
  const Tensor plane = weights_of(scaling);
  const auto cosines = plane_cosines(plane, pca.components);
  report.metric("train", "cosine_1", cosines[0]);
  report.metric("train", "cosine_2", cosines[1]);

  std::printf("\nlargest error of a learned loading: %.4f (components that hardly vary are hardly learned)\n",
              error);
  std::printf(
      "the plane of the scaling against that of the first two components: cosines of their angles %.4f and "
      "%.4f\n\n",
      cosines[0], cosines[1]);
  const std::string note =
      text("cosines of its angles to their plane: %.3f and %.3f", cosines[0], cosines[1]);
  double span = 0;  // one scale of colours for all
  for (const Tensor& weights : {pca.components, learned, plane}) {
    for (const double w : weights.to_vector<double>()) span = std::max(span, std::abs(w));
  }
  write_results(
      report, options,
      {.title = "Linear maps of a diabetes study",
       .panels = {heat_map("principal components", "computed", pca.components, "component", attributes, span),
                  heat_map("learned from coordinates", "components that hardly vary are hardly learned",
                           learned, "component", attributes, span),
                  heat_map("first two components", "computed", slice_rows(pca.components, 0, 2), "component",
                           attributes, span),
                  heat_map("metric scaling", note, plane, "axis", attributes, span)},
       .columns = 2},
      "mds.png");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, mds);
}
