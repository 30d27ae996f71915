// Runs a program on a host that another command has started.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/network_options.hpp"
#include "apps/program.hpp"
#include "front/control/client.hpp"

namespace tidewire::apps {

struct JoinOptions {
  std::vector<std::string> argv;
  std::string without;
  bool allow_io_uring = false;
  bool preload = false;
  bool own_network = true;  ///< a network namespace, if the kernel gives one
  bool quiet = false;
  WaitFor wait = WaitFor::joined;
};

/// Joins and runs the program to its end; returns the exit status of the whole command, none if the
/// host is about to end. Throws Failure with the host's refusal.
std::optional<int> run_joined(control::Client host, const NetworkOptions& network,
                              JoinOptions options);

}  // namespace tidewire::apps
