// The command line that all examples share.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace flatland::examples {

// An option beside those that all examples have.
struct Flag {
  std::string_view name;   // "--part"
  std::string_view value;  // what the help calls its value; empty: a switch
  std::string_view help;
};

struct Options {
  std::filesystem::path data;   // --data
  std::filesystem::path out;    // --out: a folder, made when it is not there
  std::uint64_t seed = 42;      // --seed
  int threads = 0;              // --threads; 0: all
  Device device = Device::cpu;  // --device auto|cpu|cuda
  bool quick = false;           // --quick: a short run, for tests
  // Of the program's own flags those that are given, and their values; a switch's is empty.
  std::map<std::string, std::string, std::less<>> own = {};
};

struct Program {
  std::string name = {};
  std::string purpose = {};    // one sentence
  std::string data_help = {};  // what --data expects
  Options defaults = {};
  std::vector<Flag> flags = {};  // of its own
};

// Reads argc and argv. Ends the program after --help (0) and after a bad argument (2, with a message that
// names it and what is allowed).
Options parse_or_exit(const Program& program, int argc, char** argv);

// The parts of it, for tests. Throws flatland::Error; help asks for the text.
Options parse(const Program& program, const std::vector<std::string>& arguments, bool* help = nullptr);
std::string help_text(const Program& program);

// Where the set's files are: `data` itself, or the folder in it that get_data.sh makes.
std::vector<std::filesystem::path> data_folders(const std::filesystem::path& data, const std::string& set);
// The command that puts them there.
std::string get_data_command(const std::filesystem::path& data, const std::string& set);

// Runs `body` and returns the exit code: an Error becomes a message "name: ..." and 1.
int run(const Program& program, int argc, char** argv, void (*body)(const Options&));

}  // namespace flatland::examples
