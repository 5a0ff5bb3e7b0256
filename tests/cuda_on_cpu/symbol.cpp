// Names of kernels, from the symbol table of the file that they were loaded from.
#include "scheduler.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

namespace cuda_on_cpu {

namespace {

// The mangled name of the function at `offset` in an ELF file; empty where there is none.
std::string find_symbol(const std::string& path, std::uintptr_t offset) {
  static std::map<std::string, std::string> files;
  std::string& file = files[path];
  if (file.empty()) {
    std::ifstream in(path, std::ios::binary | std::ios::ate);
    file.resize(static_cast<std::size_t>(std::max<std::streamoff>(in.tellg(), 0)));
    in.seekg(0).read(file.data(), static_cast<std::streamsize>(file.size()));
  }
  if (file.size() < sizeof(ElfW(Ehdr)) || file.compare(0, SELFMAG, ELFMAG) != 0) return {};
  const auto at = [&]<class T>(T, std::size_t position) {
    T value{};
    if (position + sizeof(T) <= file.size()) std::memcpy(&value, file.data() + position, sizeof(T));
    return value;
  };
  const auto header = at(ElfW(Ehdr){}, 0);
  const auto section = [&](std::size_t i) {
    return at(ElfW(Shdr){}, header.e_shoff + i * header.e_shentsize);
  };
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const auto symbols = section(i);
    if (symbols.sh_type != SHT_SYMTAB && symbols.sh_type != SHT_DYNSYM) continue;
    const auto names = section(symbols.sh_link);
    for (std::size_t at_symbol = 0; at_symbol < symbols.sh_size; at_symbol += symbols.sh_entsize) {
      const auto symbol = at(ElfW(Sym){}, symbols.sh_offset + at_symbol);
      if ((symbol.st_info & 0xf) == STT_FUNC && symbol.st_value == offset && symbol.st_shndx != SHN_UNDEF)
        return file.c_str() + names.sh_offset + symbol.st_name;
    }
  }
  return {};
}

// void (anonymous namespace)::f<float>(float*, int)  ->  f<float>
std::string shorten(std::string name) {
  const std::string unnamed = "(anonymous namespace)::";
  for (std::size_t p; (p = name.find(unnamed)) != std::string::npos;) name.erase(p, unnamed.size());
  int depth = 0;
  std::size_t begin = 0, end = 0;
  for (; end < name.size() && (depth > 0 || name[end] != '('); ++end) {
    depth += name[end] == '<' ? 1 : name[end] == '>' ? -1 : 0;
    if (depth == 0 && name[end] == ' ') begin = end + 1;
  }
  return name.substr(begin, end - begin);
}

std::string look_up(const void* kernel) {
  Dl_info info{};
  std::string symbol;
  if (dladdr(kernel, &info) != 0) {
    Dl_info self{};
    // This code is part of the program, whose own path may be relative.
    const bool program =
        dladdr(reinterpret_cast<const void*>(&look_up), &self) != 0 && self.dli_fbase == info.dli_fbase;
    const auto base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    const std::string path = program ? "/proc/self/exe" : info.dli_fname;
    symbol = find_symbol(path, reinterpret_cast<std::uintptr_t>(kernel) - base);
    if (symbol.empty()) symbol = find_symbol(path, reinterpret_cast<std::uintptr_t>(kernel));
  }
  if (symbol.empty()) {
    std::ostringstream text;
    text << "at " << kernel;
    return text.str();
  }
  int status = 0;
  char* demangled = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  const std::string name = status == 0 ? shorten(demangled) : symbol;
  std::free(demangled);
  return name;
}

}  // namespace

const std::string& kernel_name(const void* kernel) {
  static std::map<const void*, std::string> names;
  const auto [found, fresh] = names.try_emplace(kernel);
  if (fresh) found->second = look_up(kernel);
  return found->second;
}

}  // namespace cuda_on_cpu
