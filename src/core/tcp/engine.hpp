// TCP as the stack sees it: segments and socket calls in, packets out when polled.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/context.hpp"
#include "core/ip/output.hpp"
#include "core/ip/packet.hpp"
#include "core/ports.hpp"
#include "core/stack.hpp"

namespace tidewire::tcp {

/// All TCP of one stack. Owned by Stack::Impl. Receiving never transmits.
class Engine final : public TupleLookup {
 public:
  Engine(Context& context, ip::Output& output, PortRegistry& ports) noexcept;
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // From IP.
  void on_packet(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept;
  /// The configuration changed.
  void on_config() noexcept;
  void on_icmp_error(const ip::IcmpError& error) noexcept;
  /// A next hop was resolved: flows parked as unresolved on this interface may try again.
  void on_neighbor_resolved(InterfaceId interface) noexcept;
  /// A next hop did not answer: connects through it fail, established connections note it.
  void on_neighbor_failed(InterfaceId interface, const IpAddress& next_hop) noexcept;
  void on_writable(InterfaceId interface) noexcept;
  /// An address or interface is gone, or the MTU has changed.
  void on_path_change() noexcept;

  // From Stack.
  /// No text is kept in frames any more.
  void settle_frames() noexcept;
  /// At most `limit` expiries; returns how many were handled.
  std::uint32_t on_timeout(std::uint32_t limit) noexcept;
  Instant next_deadline() noexcept;
  /// Sends owed ACKs, RSTs and data of ready flows by deficit round robin within the budget (which
  /// it reduces). idle, budget_spent or blocked.
  Transmit poll_transmit(TxBudget& budget) noexcept;

  bool in_use(Protocol protocol, const Endpoint& local,
              const Endpoint& remote) const noexcept override;

  // Socket calls: the same as in Stack, for SocketKind::tcp.
  SocketResult<SocketId> open(Family family) noexcept;
  SocketResult<void> bind(SocketId socket, const Endpoint& local) noexcept;
  SocketResult<void> connect(SocketId socket, const std::optional<Endpoint>& remote) noexcept;
  SocketResult<std::size_t> connect_send(SocketId socket, const std::optional<Endpoint>& remote,
                                         Bytes data) noexcept;
  SocketResult<void> set_fast_open_keys(SocketId socket, Bytes keys) noexcept;
  SocketResult<void> set_fast_open_keys(Bytes keys) noexcept;
  void forget_fast_open() noexcept;
  SocketResult<std::size_t> fast_open_keys(SocketId socket, MutBytes out) const noexcept;
  SocketResult<void> listen(SocketId socket, std::uint32_t backlog) noexcept;
  SocketResult<SocketId> accept(SocketId listener) noexcept;
  SocketResult<std::size_t> send(SocketId socket, Bytes data, SendOptions options) noexcept;
  MutBytes send_space(SocketId socket, std::size_t wanted) noexcept;
  std::size_t send_spaces(SocketId socket, std::span<MutBytes> out, std::size_t wanted) noexcept;
  SocketResult<void> sent(SocketId socket, std::size_t bytes, SendOptions options) noexcept;
  SocketResult<std::size_t> receive(SocketId socket, MutBytes out, ReceiveOptions options) noexcept;
  ReceivedBytes received(SocketId socket) const noexcept;
  SocketResult<void> consumed(SocketId socket, std::size_t bytes) noexcept;
  SocketResult<void> shutdown(SocketId socket, ShutdownHow how) noexcept;
  void close(SocketId socket) noexcept;
  void abort(SocketId socket) noexcept;
  SocketResult<void> set_option(SocketId socket, SocketOption option, std::int64_t value) noexcept;
  SocketResult<std::int64_t> get_option(SocketId socket, SocketOption option) const noexcept;
  SocketResult<void> add_congestion_control(std::string_view name,
                                            ControllerFactory factory) noexcept;
  SocketResult<void> set_congestion_control(SocketId socket, std::string_view name) noexcept;
  SocketResult<Endpoint> local_endpoint(SocketId socket) const noexcept;
  SocketResult<Endpoint> remote_endpoint(SocketId socket) const noexcept;
  SocketError take_error(SocketId socket) noexcept;
  std::optional<SocketErrorInfo> take_error_info(SocketId socket) noexcept;
  std::uint16_t readiness(SocketId socket) const noexcept;
  /// For EventQueue: the slot of a socket, or nullptr if it is gone.
  /// Its readiness, for an event that is being delivered; 0: nothing (any more).
  std::uint16_t report(SocketId socket) noexcept;
  std::optional<SocketInfo> info(SocketId socket) const noexcept;
  std::optional<SocketInfo> next_socket(SocketId after) const noexcept;

  // Forwarding.
  SocketResult<SocketId> forward_accept(FlowId flow) noexcept;
  void forward_reject(FlowId flow, ForwardReject how) noexcept;
  void forward_drop(FlowId flow) noexcept;

 private:
  struct Impl;
  Context& context_;
  Impl* impl_ = nullptr;
};

}  // namespace tidewire::tcp
