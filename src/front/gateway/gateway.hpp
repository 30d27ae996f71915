// User-mode NAT: flows that arrive on a virtual link leave through ordinary host sockets.
#pragma once

#include <list>
#include <string>

#include "front/gateway/context.hpp"
#include "front/gateway/echo_nat.hpp"
#include "front/gateway/publish.hpp"
#include "front/gateway/tcp_relay.hpp"
#include "front/gateway/udp_nat.hpp"
#include "runtime/driver.hpp"

namespace tidewire::gateway {

/// Owns the events of `stack`, which must have been added to `driver` and whose interface has the
/// gateway's address. Everything in the driver's thread; both outlive the gateway.
class Gateway final : public runtime::StackOwner, public runtime::Task {
 public:
  Gateway(runtime::Driver& driver, Stack& stack, const GatewayConfig& config);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Flows that arrive on this interface are the gateway's.
  void serve(InterfaceId interface);
  /// Opens a host port. Returns the spec with the port the host chose (where 0 was asked for). The
  /// error is one line with the way out.
  Result<PublishSpec, std::string> publish(const PublishSpec& spec);

  void on_event(const Event& event, Instant now) override;
  Instant next_deadline() override;
  void run(Instant now) override;
  void after_turn(Instant now) override;

  const GatewayCounters& counters() const noexcept { return context_.counters; }
  const GatewayConfig& config() const noexcept { return context_.config; }
  std::size_t tcp_relays() const noexcept { return tcp_.size(); }
  /// Relays that still have something to deliver to the host or to be answered by it.
  std::size_t tcp_relays_owing() const { return tcp_.owing(); }
  std::size_t udp_flows() const noexcept { return udp_.flows(); }

 private:
  runtime::Driver& driver_;
  Context context_;
  TcpRelays tcp_;
  UdpNat udp_;
  EchoNat echo_;
  std::list<PublishedTcp> published_tcp_;
  std::list<PublishedUdp> published_udp_;
};

}  // namespace tidewire::gateway
