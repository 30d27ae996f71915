// The subcommands. Each adds itself to the command line; when chosen it sets `status`.
#pragma once

#include <CLI/CLI.hpp>

namespace tidewire::apps {

void add_run(CLI::App& app, int& status);
void add_ss(CLI::App& app, int& status);
void add_net(CLI::App& app, int& status);
void add_nc(CLI::App& app, int& status);
void add_ping(CLI::App& app, int& status);
void add_gateway(CLI::App& app, int& status);
void add_doctor(CLI::App& app, int& status);
void add_demo(CLI::App& app, int& status);
void add_perf(CLI::App& app, int& status);

}  // namespace tidewire::apps
