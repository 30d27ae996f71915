// Datagram sockets: UDP (RFC 768) and ICMP echo, which share everything but the header.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/flat_map.hpp"
#include "base/list.hpp"
#include "base/slab.hpp"
#include "base/vec.hpp"
#include "core/context.hpp"
#include "core/ip/layer.hpp"
#include "core/ip/packet.hpp"
#include "core/ports.hpp"
#include "core/udp/datagram_ring.hpp"

namespace tidewire::udp {

struct ReceivedMeta {
  Endpoint source, destination;
  Instant ingress;
  InterfaceId interface = kNoInterface;
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;
  std::uint8_t options_size = 0;  ///< IP options in front of the payload
};

struct SendMeta {
  Endpoint source, destination;
  InterfaceId bound = kNoInterface;
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;
  std::uint16_t segment_size = 0;
  std::uint8_t mtu_discover = 1;
  bool loop = false;
  std::uint8_t options_size = 0;  ///< IP options in front of the payload
  bool routed = false;            ///< they hold a source route; the first hop is in `via`
  IpAddress via;
};

struct ReadyTag {};

struct Socket : ListNode<ReadyTag> {
  explicit Socket(MemoryProvider& memory) noexcept
      : received(memory), queued(memory), errors(memory) {}

  SocketId id;
  Protocol protocol = Protocol::udp;
  Family family = Family::v4;
  bool bound = false, connected = false, owned = true;
  bool transparent = false;  ///< made by forward_accept: speaks for an address that is not ours
  bool hashed = false;
  bool reuse_address = false, reuse_port = false, v6_only = false, broadcast = false;
  bool multicast_loop = true, receive_errors = false;
  bool read_shut = false, write_shut = false;
  bool port_is_implicit = false;  ///< bound by the first send or connect
  bool wildcard_before_connect = false;
  std::uint8_t ttl = 0, tos = 0, multicast_ttl = 0;  ///< ttl 0: the default
  std::uint8_t mtu_discover = 1;
  SocketError error = SocketError::none;
  EventSlot events;
  InterfaceId bound_interface = kNoInterface, multicast_interface = kNoInterface;
  std::uint32_t send_buffer = 0, receive_buffer = 0;
  Endpoint local, remote;  ///< never IPv4-mapped
  BindId bind = 0;
  Socket* chain_next = nullptr;  ///< sockets with the same key, the newest first
  Socket* chain_prev = nullptr;
  /// The source address that was found last, and for what.
  struct Chosen {
    std::uint32_t generation = 0;
    InterfaceId bound = kNoInterface;
    IpAddress destination, asked, source;
  };
  Chosen chosen;
  ip::Path path;  ///< to path_destination
  IpAddress path_destination;
  InterfaceId path_bound = kNoInterface;
  std::uint64_t bytes_sent = 0, bytes_received = 0;
  std::uint32_t datagrams_sent = 0, datagrams_received = 0;
  DatagramRing<ReceivedMeta> received;
  DatagramRing<SendMeta> queued;
  DatagramRing<SocketErrorInfo> errors;
};

class Sockets {
 public:
  Sockets(Context& context, ip::Layer& ip, PortRegistry& ports) noexcept;
  ~Sockets();
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;

  // From IP (input.cpp).
  void on_udp(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept;
  /// An echo reply, or an echo request for a forwarding owner.
  void on_echo(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept;
  void on_icmp_error(const ip::IcmpError& error) noexcept;
  void on_writable() noexcept { ready_.splice_back(blocked_); }
  /// A datagram waits to be sent.
  bool has_queued() const noexcept { return !ready_.empty() || !blocked_.empty(); }

  // From Stack (output.cpp).
  Transmit poll_transmit(TxBudget& budget) noexcept;

  // Socket calls, the same as in Stack.
  SocketResult<SocketId> open(SocketKind kind, Family family) noexcept;
  SocketResult<void> bind(SocketId socket, const Endpoint& local) noexcept;
  SocketResult<void> connect(SocketId socket, const std::optional<Endpoint>& remote) noexcept;
  SocketResult<void> shutdown(SocketId socket, ShutdownHow how) noexcept;
  void close(SocketId socket) noexcept;
  SocketResult<void> set_option(SocketId socket, SocketOption option, std::int64_t value) noexcept;
  SocketResult<std::int64_t> get_option(SocketId socket, SocketOption option) const noexcept;
  SocketResult<Endpoint> local_endpoint(SocketId socket) const noexcept;
  SocketResult<Endpoint> remote_endpoint(SocketId socket) const noexcept;
  SocketError take_error(SocketId socket) noexcept;
  std::optional<SocketErrorInfo> take_error_info(SocketId socket, MutBytes quote) noexcept;
  std::uint16_t readiness(SocketId socket) const noexcept;
  /// Its readiness, for an event that is being delivered; 0: nothing (any more).
  std::uint16_t report(SocketId socket) noexcept;
  std::optional<SocketInfo> info(SocketId socket) const noexcept;
  std::optional<SocketInfo> next_socket(SocketId after) const noexcept;
  SocketResult<void> send(SocketId socket, std::span<const Bytes> data,
                          const DatagramTarget& target) noexcept;
  SocketResult<DatagramInfo> receive(SocketId socket, MutBytes out, bool peek) noexcept;
  SocketResult<void> join_group(SocketId socket, const IpAddress& group,
                                InterfaceId interface) noexcept;
  SocketResult<void> leave_group(SocketId socket, const IpAddress& group,
                                 InterfaceId interface) noexcept;

  // Forwarding (flows.cpp).
  SocketResult<SocketId> forward_accept(FlowId flow) noexcept;
  void forward_reject(FlowId flow, ForwardReject how) noexcept;
  void forward_drop(FlowId flow) noexcept;
  void forward_refuse(SocketId socket, ForwardReject how) noexcept;

 private:
  /// kEchoRequest keeps the echo requests of forwarded flows apart from replies to our own.
  enum class Kind : std::uint8_t { udp, echo_reply, echo_request };
  struct Key {
    IpAddress local, remote;
    std::uint16_t local_port, remote_port;
    Kind kind;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct KeyHash {
    std::uint64_t operator()(const RandomSeed& seed, const Key& key) const noexcept;
  };
  struct Membership {
    SocketId socket;
    IpAddress group;
    InterfaceId interface;
  };
  /// A datagram of nobody's yet, with what an ICMP error about it needs.
  struct Flow {
    explicit Flow(MemoryProvider& memory) noexcept : received(memory) {}
    Key key{};
    Protocol protocol = Protocol::udp;
    InterfaceId interface = kNoInterface;
    DatagramRing<ReceivedMeta> received;
    std::array<std::byte, 68> quote{};
    std::uint8_t header_len = 0, quote_len = 0;
  };
  /// A received datagram on its way to sockets.
  struct Incoming {
    const ip::Packet& packet;
    ReceivedMeta meta;
    std::array<Bytes, 4> payload;  ///< datagrams of segment_size, or one
    Bytes options;
    std::size_t size = 0;
    std::uint16_t segment_size = 0;
    Kind kind = Kind::udp;
  };

  Socket* get(SocketId id) noexcept;
  const Socket* get(SocketId id) const noexcept { return const_cast<Sockets*>(this)->get(id); }
  Key key_of(const Socket& socket) const noexcept;
  SocketResult<void> hash(Socket& socket) noexcept;
  void unhash(Socket& socket) noexcept;
  std::uint16_t bits(const Socket& socket) const noexcept;
  void update(Socket& socket) noexcept {
    context_.events.update(socket.id, socket.events, bits(socket));
  }
  void release(Socket& socket) noexcept;
  Endpoint shown(const Socket& socket, Endpoint endpoint) const noexcept;
  SocketResult<Endpoint> accepted(const Socket& socket, const Endpoint& endpoint) const noexcept;
  SocketResult<void> bind_implicitly(Socket& socket) noexcept;
  bool belongs_elsewhere(const Socket& socket, const IpAddress& source,
                         const Endpoint& remote) const noexcept;
  void leave_all(Socket& socket) noexcept;
  SocketInfo describe(const Socket& socket) const noexcept;
  SocketResult<void> set_buffers(Socket& socket, SocketOption option, std::int64_t value) noexcept;
  static bool* flag_of(Socket& socket, SocketOption option) noexcept;

  // input.cpp
  bool parse_udp(const ip::Packet& packet, Incoming& in) noexcept;
  void route_in(Incoming& in, const ForwardPolicy& forwarding) noexcept;
  Socket* find(const Incoming& in) noexcept;
  Socket* find_bound(const Incoming& in, const IpAddress& local) noexcept;
  bool matches(const Socket& socket, const Incoming& in) const noexcept;
  void deliver_to_all(const Incoming& in) noexcept;
  void deliver(Socket& socket, const Incoming& in) noexcept;
  void queue(DatagramRing<ReceivedMeta>& ring, const Incoming& in, std::size_t limit) noexcept;
  void report(Socket& socket, const ip::IcmpError& error, const Endpoint& destination) noexcept;
  void keep(Socket& socket, const SocketErrorInfo& info, Bytes quote) noexcept;
  void report_too_long(Socket& socket, const SendMeta& meta) noexcept;
  // flows.cpp
  void offer(const Incoming& in) noexcept;
  Flow* get_flow(FlowId id) noexcept;
  void remove_flow(Flow& flow) noexcept;
  // output.cpp
  SocketResult<SendMeta> address(Socket& socket, const DatagramTarget& target) noexcept;
  SocketResult<void> choose_source(Socket& socket, const DatagramTarget& target,
                                   SendMeta& meta) noexcept;
  SocketResult<void> check_size(const Socket& socket, const SendMeta& meta,
                                std::size_t size) const noexcept;
  SocketResult<void> enqueue(Socket& socket, const SendMeta& meta,
                             std::span<const Bytes> data) noexcept;
  SocketResult<void> enqueue_with_options(Socket& socket, SendMeta meta,
                                          std::span<const Bytes> data, Bytes options) noexcept;
  SocketResult<void> enqueue_echo(Socket& socket, const SendMeta& meta, std::span<const Bytes> data,
                                  std::size_t size) noexcept;
  ip::SendResult transmit(Socket& socket, TxBudget& budget) noexcept;
  void finish_transmit(Socket& socket, const ip::SendResult& result) noexcept;

  Context& context_;
  ip::Layer& ip_;
  PortRegistry& ports_;
  Slab<Socket> sockets_;
  FlatMap<Key, Socket*, KeyHash> table_;
  std::uint32_t connected_ = 0;  ///< sockets in the table under a full tuple
  List<Socket, ReadyTag> ready_, blocked_;
  Vec<Membership> memberships_;
  Slab<Flow> flows_;
  FlatMap<Key, std::uint32_t, KeyHash> flow_table_;
  RandomSeed spread_key_;
};

}  // namespace tidewire::udp
