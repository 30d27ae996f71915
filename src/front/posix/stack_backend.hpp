// Sockets of a tidewire::Stack for unmodified programs.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/stack.hpp"
#include "front/posix/backend.hpp"
#include "runtime/driver.hpp"

namespace tidewire::posix {

struct StackBackendConfig {
  /// Where 127.x.y.z:PORT leads when no program of the run has that port: to this address, which
  /// the gateway answers for the host. None: refused, as on a machine where nobody listens.
  std::optional<IpAddress> host_gateway;
  /// What SIOCGIF* and the multicast options know, by interface of the stack.
  struct Interface {
    InterfaceId id = kNoInterface;
    InterfaceInfo info;
  };
  std::vector<Interface> interfaces;
};

/// Owns the events of `stack`, which is driven elsewhere (runtime::Driver) in the same thread.
class StackBackend final : public Backend, public runtime::StackOwner {
 public:
  StackBackend(Stack& stack, StackBackendConfig config);

  void on_event(const Event& event, Instant now) override;
  void after_events(Instant now) override {
    if (late_) late_(now);
  }
  /// True while poll_event() has something.
  bool has_events() const noexcept { return !events_.empty(); }
  /// The stack's name for a socket; none for a reference that is void.
  std::optional<SocketId> socket_id(SocketRef socket) const;
  /// What SIOCGIFMTU says from now on.
  void set_mtu(InterfaceId interface, std::uint32_t mtu);
  /// Whose socket of the stack this is; 0: nobody's any more.
  SocketRef socket_ref(SocketId id) const;

  int descriptor() const noexcept override { return -1; }
  void process(Instant now) override { now_ = later(now_, now); }
  Instant next_deadline() override { return has_events() ? now_ : Instant::never(); }
  std::optional<BackendEvent> poll_event() override;

  Result<SocketRef, int> open(Transport transport, Family family) override;
  void close(SocketRef socket, Instant now) override;
  void abort(SocketRef socket, Instant now) override;
  int bind(SocketRef socket, const Endpoint& local) override;
  int connect(SocketRef socket, const Endpoint& remote, Instant now) override;
  Result<std::size_t, int> connect_send(SocketRef socket, const Endpoint& remote, Bytes data,
                                        Instant now) override;
  int disconnect(SocketRef socket) override;
  int listen(SocketRef socket, int backlog, Instant now) override;
  Result<SocketRef, int> accept(SocketRef listener, Instant now) override;

  StreamState state(SocketRef socket) override;
  std::span<const MutBytes> send_space(SocketRef socket) override;
  void sent(SocketRef socket, std::size_t bytes, bool urgent_end, Instant now) override;
  std::span<const Bytes> received(SocketRef socket) override;
  void consumed(SocketRef socket, std::size_t bytes, Instant now) override;
  std::optional<std::byte> take_urgent(SocketRef socket, Instant now) override;
  void shutdown_send(SocketRef socket, Instant now) override;
  std::size_t unacknowledged(SocketRef socket) override;

  int send_datagram(SocketRef socket, Bytes payload, const SendMeta& meta, Instant now) override;
  Result<Datagram, int> receive_datagram(SocketRef socket, MutBytes buffer) override;
  std::optional<QueuedError> take_queued_error(SocketRef socket, MutBytes quote) override;

  Endpoint local(SocketRef socket) override;
  Result<Endpoint, int> remote(SocketRef socket) override;
  int set_option(SocketRef socket, Option option, int value, Instant now) override;
  Result<int, int> get_option(SocketRef socket, Option option) override;
  int membership(SocketRef socket, const Membership& change) override;
  int set_fast_open_keys(SocketRef socket, Bytes keys, Instant now) override;
  std::size_t fast_open_keys(SocketRef socket, MutBytes out) override;
  int set_congestion(SocketRef socket, std::string_view name) override;
  std::string congestion(SocketRef socket) override;
  std::size_t info(SocketRef socket, MutBytes out) override;
  std::span<const InterfaceInfo> interfaces() override { return shown_; }

 private:
  struct Entry {
    SocketId id;
    Transport transport = Transport::tcp;
    Family family = Family::v4;
    bool connecting = false;
    bool connected = false;
    bool failed = false;  ///< the last connect did
    bool urgent = false;  ///< the stack announced an urgent byte
    int error = 0;
    std::optional<Endpoint> bound;  ///< by the program
    std::map<Option, int> options;  ///< set by the program, for a socket that is made anew
    std::optional<Endpoint>
        host_alias;  ///< connected to this loopback address, through the gateway
    std::map<std::uint16_t, IpAddress> host_ports;  ///< datagrams: loopback address for each port
    std::uint16_t claimed = 0;  ///< local port in the table of ports of this run
  };
  using PortTable = std::unordered_map<std::uint16_t, std::vector<SocketRef>>;

  Entry* entry(SocketRef socket);
  SocketRef add(SocketId id, Transport transport, Family family);
  void forget(SocketRef socket);
  bool at_urgent_byte(Entry& e);
  Result<Endpoint, int> prepare_connect(SocketRef socket, Entry& e, const Endpoint& remote);
  int renew(SocketRef ref, Entry& e);
  Endpoint outward(const Entry& e, Endpoint endpoint) const;
  PortTable& ports_of(const Entry& e);
  void claim_port(SocketRef socket, Entry& e);
  void release_port(SocketRef socket, Entry& e);
  bool reached_here(const Entry& e, const Endpoint& to);
  std::optional<Endpoint> through_gateway(Entry& e, const Endpoint& to);
  InterfaceId interface_of(std::uint32_t index, const IpAddress& address) const;
  std::uint32_t index_of(InterfaceId id) const;

  Stack& stack_;
  StackBackendConfig config_;
  std::vector<InterfaceInfo> shown_;
  Instant now_;
  SocketRef last_ = 0;
  std::unordered_map<SocketRef, std::unique_ptr<Entry>> entries_;
  std::map<SocketId, SocketRef> by_id_;
  std::deque<BackendEvent> events_;
  PortTable tcp_ports_;  ///< listeners of this run
  PortTable udp_ports_;  ///< datagram sockets of this run that have a port
  MutBytes room_;
  std::array<Bytes, 2> data_;
};

}  // namespace tidewire::posix
