#include "examples/support/quality.h"

#include "examples/support/console.h"

#include <flatland/dr/metrics.h>

#include <cstdio>

namespace flatland::examples {

namespace {
constexpr std::int64_t k_trust_neighbors = 15;
constexpr std::int64_t k_accuracy_neighbors = 10;

Quality without_accuracy(const LabelledPoints& points, std::string group) {
  return {.group = std::move(group),
          .items = points.y.size(0),
          .trustworthiness = trustworthiness(points.x, points.y, k_trust_neighbors),
          .continuity = continuity(points.x, points.y, k_trust_neighbors),
          .silhouette = silhouette(points.y, points.labels)};
}
}  // namespace

LabelledPoints embedded(const ParametricDR& routine, const Dataset& data) {
  return {data["main"], routine.apply(data), data["labels"]};
}

Quality train_quality(const LabelledPoints& train) {
  Quality quality = without_accuracy(train, "train");
  quality.knn_accuracy = knn_accuracy(train.y, train.labels, k_accuracy_neighbors);
  return quality;
}

Quality unseen_quality(const LabelledPoints& train, const LabelledPoints& unseen, std::string group) {
  Quality quality = without_accuracy(unseen, std::move(group));
  quality.knn_accuracy = knn_accuracy(train.y, train.labels, unseen.y, unseen.labels, k_accuracy_neighbors);
  return quality;
}

std::vector<Quality> measured(Report& report, const LabelledPoints& train, const LabelledPoints& unseen) {
  const std::vector<Quality> qualities = timed_stage(report, "measuring quality", [&] {
    return std::vector<Quality>{train_quality(train), unseen_quality(train, unseen)};
  });
  show_quality(report, qualities);
  return qualities;
}

void show_quality(Report& report, const std::vector<Quality>& qualities) {
  std::printf("\n%10s %8s %16s %12s %16s %12s\n", "", "items", "trustworthiness", "continuity",
              "10-NN accuracy", "silhouette");
  for (const Quality& q : qualities) {
    std::printf("%10s %8lld %16.3f %12.3f %16.3f %12.3f\n", q.group.c_str(), static_cast<long long>(q.items),
                q.trustworthiness, q.continuity, q.knn_accuracy, q.silhouette);
    report.metric(q.group, "items", static_cast<double>(q.items));
    report.metric(q.group, "trustworthiness", q.trustworthiness);
    report.metric(q.group, "continuity", q.continuity);
    report.metric(q.group, "knn_accuracy", q.knn_accuracy);
    report.metric(q.group, "silhouette", q.silhouette);
  }
  std::printf("\n");
  std::fflush(stdout);
}

std::string summary(const Quality& quality) {
  return text("%lld items, trustworthiness %.3f, 10-NN accuracy %.3f", static_cast<long long>(quality.items),
              quality.trustworthiness, quality.knn_accuracy);
}

}  // namespace flatland::examples
