// dr/report.h, dr/sha256.h.
#include <flatland/dr/file.h>
#include <flatland/dr/report.h>
#include <flatland/dr/sha256.h>
#include <flatland/kernels/isa.h>
#include <flatland/kernels/version.h>

#include <doctest/doctest.h>
#include <cmath>

#include "tests/support/errors.h"
#include "tests/support/temp_file.h"

using namespace flatland;
using flatland::test::contains;
using flatland::test::error_of;

namespace {

std::string sha256(std::string_view text) {
  Sha256 sum;
  sum.update(text);
  return sum.hex();
}

Event event(Event::Kind kind, const std::string& text, double seconds = 0) {
  Event result;
  result.kind = kind;
  result.text = text;
  result.seconds = seconds;
  return result;
}

}  // namespace

TEST_CASE("SHA-256: known answers of FIPS 180-4 and NIST") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256: pieces give the sum of the whole, at every length around a block") {
  for (std::size_t n = 0; n < 200; ++n) {
    const std::string text(n, 'x');
    Sha256 sum;
    sum.update(std::string_view(text).substr(0, n / 3));
    sum.update(std::string_view(text).substr(n / 3));
    CHECK(sum.hex() == sha256(text));
  }
  CHECK(sha256(std::string(55, 'x')) != sha256(std::string(56, 'x')));
}

TEST_CASE("the sum of parameters is that of their bytes in order") {
  const Tensor a = Tensor::from<float>({1, 2}), b = Tensor::from<double>({3});
  Sha256 sum;
  sum.update(std::as_bytes(a.values<float>()));
  sum.update(std::as_bytes(b.values<double>()));
  CHECK(sha256_of({{"a", a}, {"b", b}}) == sum.hex());
  CHECK(sha256_of({{"a", a}, {"b", b}}) != sha256_of({{"b", b}, {"a", a}}));
}

TEST_CASE("a report holds what the run told") {
  Report report(
      {.program = "demo \"x\"\n", .device = Device::cpu, .threads = 3, .seed = 18446744073709551615U});
  int seen = 0;
  const Listener listener = report.listener([&](const Event&) { return ++seen < 6; });
  CHECK(listener(event(Event::Kind::stage_started, "neighbours")));
  CHECK(listener(event(Event::Kind::stage_finished, "neighbours", 0.25)));
  CHECK(listener(event(Event::Kind::phase_started, "main")));
  for (int epoch = 1; epoch <= 2; ++epoch) {
    Event done = event(Event::Kind::epoch_finished, "main", epoch);
    done.epoch = epoch;
    done.loss = epoch == 1 ? 0.1 : std::nan("");
    done.components = {{"kl", 1.0 / epoch}, {"class", 2}};
    CHECK(listener(done));
  }
  CHECK(!listener(event(Event::Kind::phase_finished, "main", 3)));  // the next listener stops the run
  listener(event(Event::Kind::warning, "careful"));
  report.stage("drawing", 1.5);
  report.metric("train", "trustworthiness", 0.95);
  report.metric("train", "trustworthiness", 0.96);
  report.metric("unseen", "silhouette", -0.25);
  report.set("perplexity", 30);
  report.set("data", "digits.csv");
  report.file("out/digits.png");

  const std::string expected = std::string(R"({
  "program": "demo \"x\"\u000a",
  "version": ")") + FLATLAND_VERSION +
                               R"(",
  "device": "cpu",
  "threads": 3,
  "isa": ")" + std::string(kernels::name(kernels::active_isa())) +
                               R"(",
  "seed": 18446744073709551615,
  "perplexity": 30,
  "data": "digits.csv",
  "stages": [
    {
      "name": "neighbours",
      "seconds": 0.25
    },
    {
      "name": "drawing",
      "seconds": 1.5
    }
  ],
  "phases": [
    {
      "name": "main",
      "seconds": 3,
      "loss": [0.1, null],
      "components": {
        "kl": [1, 0.5],
        "class": [2, 2]
      }
    }
  ],
  "metrics": {
    "train": {
      "trustworthiness": 0.96
    },
    "unseen": {
      "silhouette": -0.25
    }
  },
  "parameters_sha256": "",
  "warnings": ["careful"],
  "files": ["out/digits.png"]
}
)";
  CHECK(report.json() == expected);
  const test::TempFile file(".json");
  report.write(file.path());
  CHECK(read_file(file.path()) == expected);
  CHECK(
      contains(error_of([&] { report.write("nowhere/report.json"); }), "nowhere/report.json: cannot write"));
}

TEST_CASE("an empty report, and threads that the machine chooses") {
  const std::string json = Report({.program = "p"}).json();
  CHECK(contains(json, "\"stages\": [],"));
  CHECK(contains(json, "\"metrics\": {},"));
  CHECK(contains(json, "\"files\": []"));
  CHECK(!contains(json, "\"threads\": 0"));
}
