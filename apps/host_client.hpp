// Finds running hosts and asks them, for the subcommands.
#pragma once

#include <string>
#include <vector>

#include "front/control/client.hpp"

namespace tidewire::apps {

/// Connects to the host of that name. Throws Failure, which names the hosts that do run.
control::Client connect_to_host(const std::string& name);
/// Connects to every host of this user; throws Failure only if they cannot be looked for.
std::vector<control::Client> connect_to_hosts();
/// Asks; throws Failure with the host's refusal.
std::vector<control::Record> ask_host(control::Client& host, const control::Record& request);
/// Without what a terminal would take for a command.
std::string printable(std::string_view text);

}  // namespace tidewire::apps
