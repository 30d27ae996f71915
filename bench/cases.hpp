// The main function of programs that measure one case a run.
#pragma once

#include <sys/wait.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel_side.hpp"

namespace tidewire::bench {

/// The names of cases that have a `name`.
template <typename Cases>
std::vector<std::string> names_of(const Cases& cases) {
  std::vector<std::string> names;
  for (const auto& c : cases) names.emplace_back(c.name);
  return names;
}

/// run(i), which returns an exit status, for the case that argument 1 names, or for all of them,
/// each in a process of its own; with --list only the names. Returns the exit status.
template <typename Run>
int run_cases(int argc, char** argv, std::span<const std::string> names, const char* usage,
              Run&& run) {
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  signal(SIGPIPE, SIG_IGN);
  bool found = wanted == "--list";
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (wanted == "--list") std::printf("%s\n", names[i].c_str());
    if (!wanted.empty() && wanted != names[i]) continue;
    found = true;
    const Child one([&] { std::exit(run(i)); });
    int status = 0;
    waitpid(one.pid(), &status, 0);
    if (status != 0) return 1;
  }
  if (found) return 0;
  std::fprintf(stderr, "usage: %s\n", usage);
  return 2;
}

}  // namespace tidewire::bench
