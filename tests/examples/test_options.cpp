// examples/support/options.h.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "examples/support/options.h"
#include "tests/support/errors.h"

using namespace flatland;
using namespace flatland::examples;
using flatland::test::contains;
using flatland::test::error_of;

namespace {

const Program k_program{.name = "demo",
                        .purpose = "Shows how it is done.",
                        .data_help = "a table",
                        .defaults = {.data = "digits.csv", .out = "out/demo", .seed = 7}};

Options parsed(const std::vector<std::string>& arguments) {
  return parse(k_program, arguments);
}

std::string fault(const std::vector<std::string>& arguments) {
  return error_of([&] { parsed(arguments); });
}

}  // namespace

TEST_CASE("defaults are the program's") {
  const Options options = parsed({});
  CHECK(options.data == "digits.csv");
  CHECK(options.out == "out/demo");
  CHECK(options.seed == 7);
  CHECK(options.threads == 0);
  CHECK(options.device == Device::cpu);
  CHECK(!options.quick);
  CHECK(parse({}, {}).out == ".");
}

TEST_CASE("options with a space or an equals sign, the last one counts") {
  const Options options = parsed({"--data", "my data.csv", "--out=x=y", "--seed", "18446744073709551615",
                                  "--threads=3", "--device", "cpu", "--quick", "--threads", "4"});
  CHECK(options.data == "my data.csv");
  CHECK(options.out == "x=y");
  CHECK(options.seed == 18446744073709551615U);
  CHECK(options.threads == 4);
  CHECK(options.device == Device::cpu);
  CHECK(options.quick);
  bool help = false;
  parse(k_program, {"--help"}, &help);
  CHECK(help);
}

TEST_CASE("a bad argument is named, with what is allowed") {
  CHECK(contains(fault({"--sed", "3"}), "unknown option '--sed'; did you mean --seed"));
  CHECK(contains(fault({"--thread=3"}), "did you mean --threads"));
  CHECK(contains(fault({"--perplexity", "3"}), "unknown option '--perplexity'; see --help"));
  CHECK(contains(fault({"digits.csv"}), "argument 'digits.csv' is not expected"));
  CHECK(contains(fault({"--seed"}), "--seed: a value is missing (N)"));
  CHECK(contains(fault({"--seed", "-1"}),
                 "--seed: '-1' is not allowed; give a whole number from 0 to 18446744073709551615"));
  CHECK(contains(fault({"--seed", "18446744073709551616"}), "is not allowed"));
  CHECK(contains(fault({"--seed", "1.5"}), "'1.5' is not allowed"));
  CHECK(contains(fault({"--seed="}), "'' is not allowed"));
  CHECK(contains(fault({"--threads", "many"}),
                 "--threads: 'many' is not allowed; give a whole number from 0 to 1024"));
  CHECK(contains(fault({"--threads", "1025"}), "from 0 to 1024"));
  CHECK(contains(fault({"--device", "gpu"}), "--device: 'gpu' is not allowed; give auto, cpu or cuda"));
  CHECK(contains(fault({"--quick=yes"}), "--quick: takes no value"));
  CHECK(contains(fault({"--out="}), "--out: a folder is missing"));
  CHECK((best_device() == Device::cuda) == fault({"--device", "cuda"}).empty());
}

TEST_CASE("data is looked for where get_data.sh puts it") {
  CHECK(get_data_command("examples/data/mnist", "mnist") == "examples/get_data.sh mnist --to examples/data");
  CHECK(get_data_command("mnist", "mnist") == "examples/get_data.sh mnist --to .");
  CHECK(get_data_command("here", "mnist") == "examples/get_data.sh mnist --to here");
  for (const std::filesystem::path data : {"examples/data/mnist", "here"}) {
    const std::string command = get_data_command(data, "mnist");
    const std::filesystem::path put = std::filesystem::path(command.substr(command.rfind(' ') + 1)) / "mnist";
    CHECK(std::ranges::count(data_folders(data, "mnist"), put) == 1);
  }
}

TEST_CASE("the help text names every option and its default") {
  const std::string text = help_text(k_program);
  for (const char* part :
       {"demo: Shows how it is done.", "--data PATH", "a table [digits.csv]", "--out FOLDER", "[out/demo]",
        "--seed N", "[7]", "--threads N", "--device NAME", "[cpu]", "--quick", "--help"}) {
    CAPTURE(part);
    CHECK(contains(text, part));
  }
}

TEST_CASE("a program adds flags of its own") {
  const Program program{.name = "demo",
                        .purpose = "",
                        .data_help = "",
                        .defaults = {.data = "digits.csv", .out = "out"},
                        .flags = {{"--part", "LETTERS", "which parts"}, {"--all", "", "all parts"}}};
  CHECK(parse(program, {}).own.empty());
  const Options options = parse(program, {"--all", "--part=a", "--part", "b,c", "--quick"});
  CHECK(options.own.at("--part") == "b,c");
  CHECK(options.own.contains("--all"));
  CHECK(options.own.size() == 2);
  CHECK(contains(help_text(program), "--part LETTERS"));
  CHECK(contains(help_text(program), "which parts"));
  CHECK(contains(error_of([&] { parse(program, {"--prat", "a"}); }), "did you mean --part"));
  CHECK(contains(error_of([&] { parse(program, {"--all=1"}); }), "--all: takes no value"));
  CHECK(contains(fault({"--part", "a"}), "unknown option '--part'"));
}
