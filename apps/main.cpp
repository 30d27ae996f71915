// tidewire: a TCP/IP stack in user space, as a command.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/version.hpp"

namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  tidewire run --net 'delay=20ms loss=1% rate=50mbit' -- curl http://localhost:8080/\n"
    "  tidewire run --publish 8080:8000 -- python3 -m http.server 8000\n"
    "  tidewire nc -lk 6666          and elsewhere: nc 127.0.0.1 6666\n"
    "  tidewire doctor               what this machine allows\n"
    "`tidewire COMMAND --help` says more about each.";

int run_command_line(int argc, char** argv) {
  CLI::App app{"Run programs over a network you describe, on a TCP/IP stack in user space.",
               "tidewire"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("tidewire ") + tidewire::apps::kVersion);
  app.footer(kFooter);
  int status = 0;
  tidewire::apps::add_run(app, status);
  tidewire::apps::add_ss(app, status);
  tidewire::apps::add_net(app, status);
  tidewire::apps::add_nc(app, status);
  tidewire::apps::add_ping(app, status);
  tidewire::apps::add_gateway(app, status);
  tidewire::apps::add_doctor(app, status);
  tidewire::apps::add_demo(app, status);
  tidewire::apps::add_perf(app, status);
  const bool is_run = argc > 1 && std::string_view(argv[1]) == "run";
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::string command = "tidewire";
    if (const auto chosen = app.get_subcommands(); !chosen.empty()) {
      command += " " + chosen.front()->get_name();
    }
    fmt::print(stderr, "{}: {}; see {} --help\n", command, error.what(), command);
    return is_run ? tidewire::apps::kOwnFailure : 2;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run_command_line(argc, argv);
  } catch (const tidewire::apps::Failure& failure) {
    fmt::print(stderr, "tidewire: {}\n", failure.what());
    return failure.status();
  } catch (const std::exception& error) {
    fmt::print(stderr, "tidewire: {}\n", error.what());
    return tidewire::apps::kOwnFailure;
  }
}
