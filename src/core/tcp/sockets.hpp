// The calls of applications: RFC 9293 §3.9.1, in the shape of BSD sockets.
#pragma once

#include <optional>
#include <string_view>

#include "core/tcp/input/input.hpp"
#include "core/tcp/shared.hpp"

namespace tidewire::tcp {

class Sockets {
 public:
  Sockets(Shared& shared, Input& input) noexcept : s(shared), input_(input) {}

  // sockets.cpp
  SocketResult<SocketId> open(Family family) noexcept;
  SocketResult<void> bind(Connection& c, const Endpoint& local) noexcept;
  SocketResult<void> connect(Connection& c, const std::optional<Endpoint>& remote,
                             const TupleLookup& tuples) noexcept;
  // fast_open_calls.cpp
  SocketResult<std::size_t> connect_send(Connection& c, const std::optional<Endpoint>& remote,
                                         Bytes data, const TupleLookup& tuples) noexcept;
  SocketResult<void> set_fast_open_keys(Connection& c, Bytes keys) noexcept;
  std::size_t fast_open_keys(const Connection& c, MutBytes out) const noexcept;
  // sockets.cpp
  SocketResult<void> listen(Connection& c, std::uint32_t backlog) noexcept;
  SocketResult<SocketId> accept(Connection& c) noexcept;
  // close.cpp
  SocketResult<void> shutdown(Connection& c, ShutdownHow how) noexcept;
  void close(Connection& c) noexcept;
  void abort(Connection& c) noexcept;
  // stream.cpp
  SocketResult<std::size_t> send(Connection& c, Bytes data, SendOptions options) noexcept;
  MutBytes send_space(Connection& c, std::size_t wanted) noexcept;
  std::size_t send_spaces(Connection& c, std::span<MutBytes> out, std::size_t wanted) noexcept;
  SocketResult<void> sent(Connection& c, std::size_t bytes, SendOptions options) noexcept;
  SocketResult<std::size_t> receive(Connection& c, MutBytes out, ReceiveOptions options) noexcept;
  ReceivedBytes received(const Connection& c) const noexcept;
  SocketResult<void> consumed(Connection& c, std::size_t bytes) noexcept;
  // options.cpp
  SocketResult<void> set_option(Connection& c, SocketOption option, std::int64_t value) noexcept;
  SocketResult<std::int64_t> get_option(const Connection& c, SocketOption option) const noexcept;
  SocketResult<void> set_congestion_control(Connection& c, std::string_view name) noexcept;
  SocketResult<Endpoint> local_endpoint(const Connection& c) const noexcept;
  SocketResult<Endpoint> remote_endpoint(const Connection& c) const noexcept;
  // info.cpp
  SocketInfo info(const Connection& c) const noexcept;
  std::optional<SocketInfo> info(SocketId id) noexcept;
  SocketInfo info(const SocketEntry& entry) noexcept;
  std::optional<SocketInfo> next_socket(SocketId after) noexcept;
  // forward.cpp
  SocketResult<SocketId> forward_accept(FlowId flow) noexcept;
  void forward_reject(FlowId flow, ForwardReject how) noexcept;
  void forward_drop(FlowId flow) noexcept;

 private:
  std::optional<IpAddress> fit_family(const Connection& c, const IpAddress& address) const noexcept;
  IpAddress shown(const Connection& c, const IpAddress& address) const noexcept;
  SocketResult<void> choose_local(Connection& c, const Endpoint& remote,
                                  const TupleLookup& tuples) noexcept;
  bool belongs_elsewhere(const Connection& c, const IpAddress& from,
                         const Endpoint& remote) const noexcept;
  static bool may_write(const Connection& c) noexcept;
  SocketResult<void> prepare_connect(Connection& c, const std::optional<Endpoint>& remote,
                                     const TupleLookup& tuples) noexcept;
  void launch_syn(Connection& c) noexcept;
  SocketResult<void> set_fast_open(Connection& c, SocketOption option, std::int64_t value) noexcept;
  bool fast_open_known(Connection& c) noexcept;
  MutBytes syn_space(Connection& c, std::size_t wanted) noexcept;
  std::size_t put_in_syn(Connection& c, Bytes data) noexcept;
  void close_listener(Connection& c) noexcept;
  void add_listener(Connection& c) noexcept;
  void remove_listener(Connection& c) noexcept;
  SocketResult<void> check_send(Connection& c) noexcept;
  void after_write(Connection& c, std::size_t bytes, SendOptions options) noexcept;
  void after_read(Connection& c, std::size_t bytes) noexcept;
  SocketResult<std::size_t> receive_urgent(Connection& c, MutBytes out, bool peek) noexcept;
  std::optional<std::uint32_t> bytes_to_mark(const Connection& c) const noexcept;
  void pass_urgent(Connection& c) noexcept;
  void tune_receive_buffer(Connection& c, std::size_t bytes) noexcept;
  void set_timer_option(Connection& c, SocketOption option, std::int64_t value) noexcept;
  void release_held(Connection& c) noexcept;
  bool set_flag(Connection& c, SocketOption option, bool on) noexcept;
  bool set_size(Connection& c, SocketOption option, std::int64_t value) noexcept;
  std::optional<std::int64_t> get_flag(const Connection& c, SocketOption option) const noexcept;
  std::optional<std::int64_t> get_size(const Connection& c, SocketOption option) const noexcept;
  std::optional<std::int64_t> get_state(const Connection& c, SocketOption option) const noexcept;
  HalfOpen* find_held(FlowId flow) noexcept;

  Shared& s;
  Input& input_;
};

}  // namespace tidewire::tcp
