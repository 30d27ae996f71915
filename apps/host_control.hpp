// Answers others about a running host: `tidewire ss`, `tidewire net`, `tidewire run --host`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "apps/joining.hpp"
#include "apps/program.hpp"
#include "apps/virtual_network.hpp"
#include "core/stack.hpp"
#include "front/control/server.hpp"
#include "front/posix/stack_backend.hpp"

namespace tidewire::apps {

/// A request is a line (front/control/record.hpp), docs/hosts.md lists them.
class HostControl final : public control::Handler {
 public:
  struct Facts {
    std::string name;
    std::string program;                              ///< the first of the run
    bool quiet = false;                               ///< do not tell of changes on standard error
    std::function<void(std::uint32_t mtu)> show_mtu;  ///< to programs
  };
  /// All of these outlive it. Neither backend nor program: a kernel is the host.
  HostControl(VirtualNetwork& network, posix::StackBackend* backend, Program* program,
              const NetworkOptions& options, Facts facts);

  ~HostControl();
  HostControl(const HostControl&) = delete;
  HostControl& operator=(const HostControl&) = delete;

  const std::string& name() const noexcept { return facts_.name; }
  Joining& joining() noexcept { return joining_; }

  control::Reply answer(control::Request& request, Instant now) override;
  void gone(control::ConnectionId connection) override;

 private:
  control::Record about_host() const;
  control::Record about_link(device::Direction direction) const;
  control::Record about_socket(const SocketInfo& info, Instant now);
  control::Reply list_sockets();
  control::Reply show_net() const;
  control::Reply change_net(const control::Record& request);
  control::Reply set_link_up(bool up);
  void changed();
  void tell(const std::string& what) const;

  VirtualNetwork& network_;
  posix::StackBackend* backend_;
  Program* program_;
  Joining joining_;
  Facts facts_;
  device::NetSpec net_;  ///< told last
  bool link_up_;         ///< likewise
};

}  // namespace tidewire::apps
