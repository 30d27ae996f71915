// Takes programs of other commands into a running host: `tidewire run --host NAME`.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/network_options.hpp"
#include "apps/program.hpp"
#include "apps/virtual_network.hpp"
#include "front/control/server.hpp"

namespace tidewire::apps {

/// The refusal of a host that delivers its last bytes: another may have its name soon.
inline constexpr std::string_view kHostIsEnding = "it is ending";

/// The host's side. A command that joins asks with `join`, starts its program, and hands over the
/// program's system calls with `program`; its connection stays while the program lives.
class Joining {
 public:
  /// All of these outlive it. Without a program nobody can join.
  Joining(VirtualNetwork& network, Program* program, const NetworkOptions& options)
      : network_(network), program_(program), options_(options) {}

  control::Reply ask(const control::Request& request, const std::string& host);
  control::Reply take_program(control::Request& request);
  void gone(control::ConnectionId connection);

  /// How many there are. One that does not bring a program in ten seconds does not count: the host
  /// must not wait for it.
  std::size_t joined() const;
  /// Nobody is taken any more.
  void close() noexcept { closed_ = true; }
  std::vector<control::ConnectionId> connections() const;

 private:
  struct Member {
    Instant since;
    pid_t guard = 0;
    bool started = false;
  };
  std::string contradiction(const control::Record& request) const;
  std::string publish(const control::Record& request);

  VirtualNetwork& network_;
  Program* program_;
  const NetworkOptions& options_;
  std::vector<gateway::PublishSpec> published_later_;
  std::map<control::ConnectionId, Member> members_;
  bool closed_ = false;
};

}  // namespace tidewire::apps
