// The IP layer: interfaces, routes, ARP, IPv4, ICMP and what is shared by all transports.
#pragma once

#include <cstdint>
#include <span>

#include "core/context.hpp"
#include "core/icmp/rate_limit.hpp"
#include "core/ip/igmp.hpp"
#include "core/ip/output.hpp"
#include "core/ip/packet.hpp"
#include "core/ip/path_mtu.hpp"
#include "core/ip/reassembly.hpp"
#include "core/ip/route.hpp"
#include "core/ip/train.hpp"
#include "core/link/interface.hpp"
#include "core/link/neighbor.hpp"
#include "core/link/packet_store.hpp"
#include "core/stack.hpp"
#include "wire/icmpv4.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::ip {

/// The transports, as IP sees them.
class Upper {
 public:
  /// TCP, UDP, ICMP echo replies, and echo requests that a forwarding owner may want.
  virtual void deliver(const Packet& packet, const ForwardPolicy& forwarding) noexcept = 0;
  virtual void icmp_error(const IcmpError& error) noexcept = 0;
  virtual void neighbor_resolved(InterfaceId interface) noexcept = 0;
  virtual void neighbor_failed(InterfaceId interface, const IpAddress& next_hop) noexcept = 0;
  virtual void path_changed() noexcept = 0;

 protected:
  ~Upper() = default;
};

/// Where a packet goes: the interface, and the host on its link that takes it.
struct Hop {
  InterfaceId interface = kNoInterface;
  IpAddress next_hop;
};

/// Why an ICMP error is sent about a packet.
enum class Complaint : std::uint8_t {
  net_unreachable,
  host_unreachable,
  protocol_unreachable,
  port_unreachable,
  fragmentation_needed,
  prohibited,
  source_route_failed,
  ttl_exceeded,
  reassembly_timeout,
  parameter_problem,
};

/// A packet somebody complains about.
struct Offence {
  InterfaceId interface = kNoInterface;
  IpAddress source, destination;
  std::uint8_t protocol = 0;
  Bytes header;   ///< IP header as received
  Bytes payload;  ///< what followed it, as much as is contiguous
  bool forwarded = false;
};

class Layer final : public Output,
                    private link::NeighborActions,
                    private ReassemblyTimeouts,
                    private IgmpActions,
                    private RouteHealth {
 public:
  Layer(Context& context, Upper& upper) noexcept;
  ~Layer();
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  // --- configuration (layer.cpp) ---
  SocketResult<InterfaceId> add_interface(const InterfaceConfig& config) noexcept;
  SocketResult<void> add_address(InterfaceId interface, const IpCidr& cidr) noexcept;
  SocketResult<void> remove_address(InterfaceId interface, const IpAddress& address) noexcept;
  SocketResult<void> add_route(const Route& route) noexcept;
  SocketResult<void> remove_route(const IpCidr& destination) noexcept;
  void set_ip_forwarding(bool on) noexcept { ip_forwarding_ = on; }
  void set_forwarding(InterfaceId interface, const ForwardPolicy& policy) noexcept;
  void on_link(InterfaceId interface, LinkState state, std::uint32_t mtu) noexcept;
  void on_writable(InterfaceId interface) noexcept;
  const link::InterfaceTable& interfaces() const noexcept { return interfaces_; }

  // --- input ---
  /// `stay`: until the stack's settle_frames().
  void on_frames(InterfaceId interface, std::span<const RxFrame> frames, bool stay) noexcept;
  std::uint32_t on_timeout(std::uint32_t limit) noexcept;
  Instant next_deadline() noexcept {
    const Instant link = earlier(neighbors_.next_deadline(), igmp_.next_deadline());
    return earlier(link, earlier(reassembly_.next_deadline(), path_mtus_.next_deadline()));
  }

  // --- output ---
  /// The sink that takes frames from now until end_poll().
  void begin_poll(TxSink& sink) noexcept { sink_ = &sink; }
  void end_poll() noexcept { sink_ = nullptr; }
  /// Something waits in an outbox.
  bool has_queued() const noexcept { return waiting_ != 0; }
  /// Sends what waits in the outboxes.
  Transmit poll_outboxes(TxBudget& budget) noexcept;
  /// As send(), for datagrams: one whose next hop is unresolved waits on the neighbor entry and
  /// counts as taken; one larger than the path MTU without dont_fragment is fragmented.
  /// `loop`: a copy of a multicast or broadcast datagram comes back to this host.
  SendResult send_datagram(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                           InterfaceId bound, bool loop) noexcept;
  /// Changes whenever a cached way or source address may be out of date. Never 0.
  std::uint32_t generation() const noexcept { return generation_; }
  /// Chooses interface and next hop; network_unreachable if there is no route.
  SocketResult<Hop> route(const IpAddress& destination, InterfaceId bound) const noexcept {
    if (direct_.generation == generation_ && direct_.bound == bound &&
        direct_.destination == destination) {
      return Hop{direct_.interface, destination};
    }
    return find_route(destination, bound);
  }

  // Output.
  Result<IpAddress, SocketError> source_for(const IpAddress& destination,
                                            InterfaceId bound) const noexcept override;
  bool is_local(const IpAddress& address) const noexcept override {
    return interfaces_.is_local(address);
  }
  bool is_broadcast(const IpAddress& address) const noexcept override {
    return interfaces_.is_broadcast(address);
  }
  std::uint32_t path_mtu(const IpAddress& destination, InterfaceId bound) const noexcept override;
  std::uint32_t interface_mtu(const IpAddress& destination,
                              InterfaceId bound) const noexcept override;
  void lower_path_mtu(const IpAddress& destination, std::uint32_t mtu) noexcept override;
  void advise_failure(const IpAddress& destination) noexcept override;
  void confirm(const Path& path) noexcept override;
  bool blocked(const Path& path) const noexcept override;
  SendResult send(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                  InterfaceId bound) noexcept override;
  bool send_plain(HeaderBuffer& headers, const PlainPacket& packet, Path& path) noexcept override;
  void queue_reply(const IpAddress& source, const IpAddress& destination, Protocol protocol,
                   Bytes transport_header, std::uint8_t checksum_offset) noexcept override;
  void queue_reject(InterfaceId interface, const IpAddress& local, const IpAddress& remote,
                    Bytes transport, ForwardReject how) noexcept override;

  // --- multicast (multicast.cpp) ---
  /// kNoInterface: by route. Returns the interface; every join is undone by one leave_group.
  SocketResult<InterfaceId> join_group(const IpAddress& group, InterfaceId interface) noexcept;
  void leave_group(const IpAddress& group, InterfaceId interface) noexcept;

  // --- ICMP (icmp/*.cpp) ---
  /// Sends an ICMP error about a packet unless RFC 1122 §3.2.2 or the rate limit forbids it.
  void complain(const Offence& offence, Complaint why, std::uint32_t detail = 0) noexcept;
  void complain(const Packet& packet, Complaint why) noexcept;

 private:
  struct Arrival {
    link::Interface& interface;
    Bytes packet;               ///< contiguous front of the IP packet
    std::array<Bytes, 3> more;  ///< what follows
    std::uint16_t seg_size;
    std::uint16_t segs;
    ChecksumState checksum;
    Instant ingress;
    bool link_group;  ///< came as a link-layer broadcast or multicast
    Train* train;     ///< what came behind it; null: nothing that could be handled with it

    std::size_t size() const noexcept {
      return packet.size() + more[0].size() + more[1].size() + more[2].size();
    }
    void trim(std::size_t total) noexcept;
  };

  // layer.cpp
  SocketResult<Hop> find_route(const IpAddress& destination, InterfaceId bound) const noexcept;
  // input_link.cpp
  void on_frame(link::Interface& interface, const RxFrame& frame, Train* train) noexcept;
  void on_ip(Arrival& arrival) noexcept;
  void on_ethernet(Arrival& arrival) noexcept;
  void on_arp(Arrival& arrival) noexcept;
  // input_v4.cpp
  static DropReason reason_of(wire::ParseError error) noexcept;
  void on_ipv4(Arrival& arrival) noexcept;
  /// The usual packet: TCP, lone, without options, between the addresses of the last one. True: it
  /// was that, and is dealt with. `packet` begins in `frame`, which came to us alone.
  bool on_known(const link::Interface& interface, Bytes packet, const RxFrame& frame,
                Train* train) noexcept;
  bool on_known(link::Interface& interface, const RxFrame& frame, Train* train) noexcept;
  bool is_known(const link::Interface& interface, std::uint32_t source,
                std::uint32_t destination) const noexcept {
    return known_.source == source && known_.destination == destination &&
           known_.generation == generation_ && known_.interface == interface.id;
  }
  bool check_source(const Arrival& arrival, const wire::Ipv4View& view) noexcept;
  bool check_destination(const Arrival& arrival, const wire::Ipv4View& view) noexcept;
  bool check_options(const Arrival& arrival, const wire::Ipv4View& view) noexcept;
  void on_foreign(Arrival& arrival, const wire::Ipv4View& view) noexcept;
  void accept_ipv4(Arrival& arrival, const wire::Ipv4View& view, Cast cast, bool to_us) noexcept;
  void accept_fragment(Arrival& arrival, const wire::Ipv4View& view, Cast cast,
                       bool to_us) noexcept;
  bool accepts_protocol(std::uint8_t protocol) const noexcept;
  void check_segments(Packet& packet) noexcept;
  void dispatch(Packet& packet) noexcept;
  void fail_ipv4(const Arrival& arrival, const wire::Ipv4View& view, DropReason reason,
                 Complaint why, std::uint32_t detail = 0) noexcept;
  Offence offence_of(const Arrival& arrival, const wire::Ipv4View& view) const noexcept;
  // input_v6.cpp
  void on_ipv6(Arrival& arrival) noexcept;
  void on_icmpv6(const Packet& packet) noexcept;
  void on_icmpv6_error(const Packet& packet, const wire::Icmpv6View& view) noexcept;
  void complain_v6(const Offence& offence, const wire::Icmpv6Header& header) noexcept;
  void send_icmpv6(const IpAddress& source, const IpAddress& destination,
                   const wire::Icmpv6Header& header, std::span<const Bytes> payload) noexcept;
  // forward.cpp
  void forward(Arrival& arrival, const wire::Ipv4View& view) noexcept;
  link::QueuedPacket* copy_for_forwarding(Arrival& arrival, const wire::Ipv4View& view) noexcept;
  void finish_forward(link::QueuedPacket& packet, const wire::Ipv4View& view,
                      const link::Interface& out) noexcept;
  // output.cpp
  bool refresh(Path& path, const IpAddress& destination, InterfaceId bound,
               SendResult& result) noexcept;
  MacAddress group_mac(const IpAddress& destination) const noexcept;
  /// Completes the headers in front of the transport's; returns where the IP header begins.
  std::size_t write_ip(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                       std::size_t payload) noexcept;
  std::uint16_t identify(const OutPacket& packet, Path& path) noexcept;
  SendResult push_direct(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                         std::size_t payload) noexcept;
  SendResult send_copy(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                       std::size_t payload) noexcept;
  PushResult push(link::Interface& interface, const TxFrame& frame) noexcept;
  link::QueuedPacket* copy_packet(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                                  std::size_t payload) noexcept;
  // outbox.cpp
  bool enqueue(link::QueuedPacket& packet, const Hop& hop) noexcept;
  bool put_in_outbox(link::QueuedPacket& packet, link::Interface& interface) noexcept;
  bool push_queued(link::Interface& interface, link::QueuedPacket& packet,
                   TxBudget& budget) noexcept;
  bool push_whole(link::Interface& interface, link::QueuedPacket& packet,
                  TxBudget& budget) noexcept;
  bool push_fragments(link::Interface& interface, link::QueuedPacket& packet, std::uint32_t mtu,
                      TxBudget& budget) noexcept;
  std::uint16_t next_identification(const IpAddress& source, const IpAddress& destination,
                                    std::uint8_t protocol, std::uint16_t count = 1) noexcept;
  void loop_back(link::QueuedPacket& packet) noexcept;
  // icmp/icmp_input.cpp
  void on_icmp(const Packet& packet) noexcept;
  void on_echo_request(const Packet& packet, Bytes message) noexcept;
  void on_icmp_error(const Packet& packet, const wire::Icmpv4View& view) noexcept;
  void on_redirect(const Packet& packet, const wire::Icmpv4View& view) noexcept;
  // icmp/icmp_output.cpp
  bool may_complain(const Offence& offence) noexcept;
  void send_icmp(const IpAddress& source, const IpAddress& destination, InterfaceId interface,
                 const wire::Icmpv4Header& header, std::span<const Bytes> payload,
                 Bytes ip_options) noexcept;

  // NeighborActions (arp.cpp)
  void ask(const link::Neighbor& entry, bool unicast) noexcept override;
  void resolved(link::Neighbor& entry) noexcept override;
  void failed(link::Neighbor& entry) noexcept override;
  void forgotten(link::Neighbor& entry) noexcept override;
  void report_unreachable(link::QueuedPacket& packet) noexcept;
  void send_arp(const link::Interface& interface, bool reply, const IpAddress& sender,
                const MacAddress& target_mac, const IpAddress& target,
                const MacAddress& link_destination) noexcept;
  void reassembly_timed_out(const Reassembled& first) noexcept override;
  bool usable(const Route& route) const noexcept override;
  // IgmpActions (multicast.cpp)
  void send_v3_report(InterfaceId interface,
                      std::span<const wire::IgmpRecord> records) noexcept override;
  void send_old(InterfaceId interface, const wire::IgmpRepr& message) noexcept override;
  void on_igmp(const Packet& packet) noexcept;
  template <typename Message>
  void send_igmp(InterfaceId id, const IpAddress& destination, const Message& message) noexcept;

  /// Makes every cached Path be looked up again; 0 means "never".
  void paths_changed() noexcept {
    if (++generation_ == 0) generation_ = 1;
  }
  bool hears(const link::Interface& interface, const IpAddress& group) const noexcept;
  Cast cast_of(InterfaceId interface, const IpAddress& destination) const noexcept;

  Context& context_;
  Upper& upper_;
  link::PacketStore store_;
  link::InterfaceTable interfaces_;
  RouteTable routes_;
  PathMtuTable path_mtus_;
  link::NeighborTable neighbors_;
  Reassembly reassembly_;
  Igmp igmp_;
  icmp::RateLimit icmp_limit_;
  TxSink* sink_ = nullptr;
  std::uint32_t waiting_ = 0;  ///< packets in all outboxes
  std::uint32_t generation_ = 1;
  bool ip_forwarding_ = false;
  bool frames_stay_ = false;  ///< those of this batch
  /// The last pair of unicast addresses that passed all checks: most packets are of few flows.
  struct {
    std::uint32_t source = 0, destination = 0;
    std::uint32_t generation = 0;  ///< 0: none
    InterfaceId interface = kNoInterface;
  } known_;
  /// The last destination whose way led over no gateway: a connection that is made asks for it
  /// several times.
  mutable struct {
    IpAddress destination;
    std::uint32_t generation = 0;  ///< 0: none
    InterfaceId bound = kNoInterface;
    InterfaceId interface = kNoInterface;
  } direct_;
  RandomSeed identification_key_;
  std::array<std::uint16_t, 256> identifications_{};
};

}  // namespace tidewire::ip
