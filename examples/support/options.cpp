#include "examples/support/options.h"

#include <flatland/kernels/check.h>
#include <flatland/kernels/version.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <numeric>

namespace flatland::examples {
namespace {

constexpr Flag k_flags[] = {
    {"--data", "PATH", ""},
    {"--out", "FOLDER", "where pictures and report.json go; made when missing"},
    {"--seed", "N", "of initial weights, order of batches and samples"},
    {"--threads", "N", "of the CPU; 0 takes all. Results do not depend on it"},
    {"--device", "NAME", "auto, cpu or cuda; auto takes the GPU when there is one"},
    {"--quick", "", "a short run that shows that all works"},
    {"--help", "", "this text"},
};

// Insertions, deletions and changes between two words (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// Those of all examples, then the program's own.
std::vector<Flag> flags_of(const Program& program) {
  std::vector<Flag> flags(std::begin(k_flags), std::end(k_flags));
  flags.insert(flags.end(), program.flags.begin(), program.flags.end());
  return flags;
}

const Flag& find_flag(const std::vector<Flag>& flags, std::string_view word) {
  const auto found = std::ranges::find(flags, word, &Flag::name);
  if (found != flags.end()) return *found;
  FLATLAND_CHECK(word.starts_with('-'), "argument '", word,
                 "' is not expected; options begin with --, see --help");
  const auto closest =
      std::ranges::min_element(flags, {}, [&](const Flag& flag) { return edit_distance(word, flag.name); });
  constexpr std::size_t k_typo = 2;
  const bool guess = edit_distance(word, closest->name) <= k_typo;
  detail::fail("unknown option '", word, "'", guess ? "; did you mean " : "; see --help",
               guess ? closest->name : "");
}

template <class T>
T integer(std::string_view flag, std::string_view text, T max) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  FLATLAND_CHECK(
      error == std::errc() && end == text.data() + text.size() && value <= max && !text.starts_with('-'),
      flag, ": '", text, "' is not allowed; give a whole number from 0 to ", max);
  return value;
}

Device device_of(std::string_view text) {
  if (text == "auto") return best_device();
  if (text == "cpu") return Device::cpu;
  FLATLAND_CHECK(text == "cuda", "--device: '", text, "' is not allowed; give auto, cpu or cuda");
  FLATLAND_CHECK(
      best_device() == Device::cuda,
      "--device: cuda is not usable here (no GPU, no driver, or a build without CUDA); give auto or cpu");
  return Device::cuda;
}

void set(Options& options, const Program& program, std::string_view flag, std::string_view value) {
  constexpr int k_max_threads = 1024;
  if (flag == "--data") options.data = value;
  if (flag == "--out") options.out = value;
  if (flag == "--seed") options.seed = integer(flag, value, std::numeric_limits<std::uint64_t>::max());
  if (flag == "--threads") options.threads = integer(flag, value, k_max_threads);
  if (flag == "--device") options.device = device_of(value);
  if (flag == "--quick") options.quick = true;
  const bool own = std::ranges::find(program.flags, flag, &Flag::name) != program.flags.end();
  if (own) options.own.insert_or_assign(std::string(flag), value);
}

std::string default_text(const Options& defaults, std::string_view flag) {
  if (flag == "--data" && !defaults.data.empty()) return defaults.data.string();
  if (flag == "--out") return defaults.out.empty() ? "." : defaults.out.string();
  if (flag == "--seed") return std::to_string(defaults.seed);
  if (flag == "--threads") return std::to_string(defaults.threads);
  if (flag == "--device") return "cpu";
  return {};
}

}  // namespace

Options parse(const Program& program, const std::vector<std::string>& arguments, bool* help) {
  Options options = program.defaults;
  if (options.out.empty()) options.out = ".";
  const std::vector<Flag> flags = flags_of(program);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const std::size_t equals = argument.find('=');
    const Flag& flag = find_flag(flags, argument.substr(0, equals));
    if (flag.name == "--help" && help) *help = true;
    if (flag.value.empty()) {
      FLATLAND_CHECK(equals == std::string_view::npos, flag.name, ": takes no value");
      set(options, program, flag.name, {});
    } else if (equals != std::string_view::npos) {
      set(options, program, flag.name, argument.substr(equals + 1));
    } else {
      FLATLAND_CHECK(i + 1 < arguments.size(), flag.name, ": a value is missing (", flag.value, ")");
      set(options, program, flag.name, arguments[++i]);
    }
  }
  FLATLAND_CHECK(!options.out.empty(), "--out: a folder is missing");
  return options;
}

std::string help_text(const Program& program) {
  std::string text = program.name;
  text.append(": ")
      .append(program.purpose)
      .append("\n\nusage: ")
      .append(program.name)
      .append(" [options]\n\n");
  for (const Flag& flag : flags_of(program)) {
    std::string left = "  ";
    left.append(flag.name).append(" ").append(flag.value);
    constexpr std::size_t k_column = 20;
    left.resize(std::max(left.size() + 1, k_column), ' ');
    text.append(left).append(flag.name == "--data" ? program.data_help : flag.help);
    const std::string shown = default_text(program.defaults, flag.name);
    if (!shown.empty()) text.append(" [").append(shown).append("]");
    text += '\n';
  }
  return text.append("\nflatland ").append(FLATLAND_VERSION).append("\n");
}

Options parse_or_exit(const Program& program, int argc, char** argv) {
  try {
    bool help = false;
    const Options options = parse(program, {argv + 1, argv + argc}, &help);
    if (help) {
      std::fputs(help_text(program).c_str(), stdout);
      std::exit(0);
    }
    std::filesystem::create_directories(options.out);
    return options;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program.name.c_str(), error.what());
    std::exit(2);
  }
}

std::vector<std::filesystem::path> data_folders(const std::filesystem::path& data, const std::string& set) {
  return {data, data / set};
}

std::string get_data_command(const std::filesystem::path& data, const std::string& set) {
  const std::filesystem::path to = data.filename() == set ? data.parent_path() : data;
  return "examples/get_data.sh " + set + " --to " + (to.empty() ? std::string(".") : to.string());
}

int run(const Program& program, int argc, char** argv, void (*body)(const Options&)) {
  const Options options = parse_or_exit(program, argc, argv);
  try {
    body(options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program.name.c_str(), error.what());
    return 1;
  }
}

}  // namespace flatland::examples
