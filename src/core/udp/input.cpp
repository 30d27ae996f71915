// Datagrams in: validation, the socket they are for, ICMP errors about what was sent.
#include <algorithm>

#include "core/udp/sockets.hpp"
#include "wire/icmpv4.hpp"
#include "wire/udp.hpp"

namespace tidewire::udp {
namespace {

SocketError error_of(ip::IcmpError::Kind kind) noexcept {
  using Kind = ip::IcmpError::Kind;
  switch (kind) {
    case Kind::port_unreachable:
      return SocketError::connection_refused;
    case Kind::packet_too_big:
      return SocketError::message_too_long;
    case Kind::network_unreachable:
      return SocketError::network_unreachable;
    case Kind::protocol_unreachable:
    case Kind::parameter_problem:
      return SocketError::protocol_error;
    case Kind::source_quench:
      return SocketError::none;
    default:
      return SocketError::host_unreachable;
  }
}

/// Errors that say that nobody is there, not that the way is bad at the moment.
bool is_hard(ip::IcmpError::Kind kind) noexcept {
  using Kind = ip::IcmpError::Kind;
  return kind == Kind::port_unreachable || kind == Kind::protocol_unreachable ||
         kind == Kind::parameter_problem;
}

}  // namespace

//= RFC 768
bool Sockets::parse_udp(const ip::Packet& packet, Incoming& in) noexcept {
  const std::size_t available = packet.transport_size();
  const auto view = wire::UdpView::parse(packet.transport, available);
  if (!view) {
    context_.drop(view.error() == wire::ParseError::truncated ? DropReason::udp_truncated
                                                              : DropReason::udp_bad_length,
                  packet.interface);
    return false;
  }
  if (packet.checksum == ChecksumState::unknown || !view->has_checksum()) {
    //= RFC 1122 §4.1.3.4
    if (!view->verify(packet.source, packet.destination, packet.more)) {
      context_.drop(DropReason::udp_bad_checksum, packet.interface);
      return false;
    }
  }
  if (view->destination_port() == 0) {
    context_.drop(DropReason::udp_port_zero, packet.interface);
    return false;
  }
  in.meta.source.port = view->source_port();
  in.meta.destination.port = view->destination_port();
  // What follows the UDP length is no payload.
  std::size_t left = view->payload_len();
  in.size = left;
  in.payload[0] = view->payload();
  left -= in.payload[0].size();
  for (std::size_t i = 0; i < packet.more.size(); ++i) {
    in.payload[i + 1] = packet.more[i].first(std::min(left, packet.more[i].size()));
    left -= in.payload[i + 1].size();
  }
  if (packet.seg_size < in.size) in.segment_size = packet.seg_size;
  return true;
}

void Sockets::on_udp(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept {
  Incoming in{packet, {}, {}, {}, 0, 0, Kind::udp};
  if (parse_udp(packet, in)) route_in(in, forwarding);
}

void Sockets::on_echo(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept {
  Incoming in{packet, {}, {}, {}, 0, 0, Kind::echo_reply};
  const std::uint8_t type = wire::load_u8(packet.transport.data());
  if (type == static_cast<std::uint8_t>(wire::Icmpv4Type::echo_request)) {
    in.kind = Kind::echo_request;
  }
  in.meta.destination.port = wire::load_u16(packet.transport.data() + 4);
  in.payload = {packet.transport, packet.more[0], packet.more[1], packet.more[2]};
  in.size = packet.transport_size();
  route_in(in, forwarding);
}

void Sockets::route_in(Incoming& in, const ForwardPolicy& forwarding) noexcept {
  const ip::Packet& packet = in.packet;
  in.meta.source.address = packet.source;
  in.meta.destination.address = packet.destination;
  in.meta.ingress = packet.ingress;
  in.meta.interface = packet.interface;
  in.meta.tos = packet.tos;
  in.meta.ttl = packet.ttl;
  //= RFC 1122 §4.1.3.2
  if (packet.source.is_v4() && packet.ip_header.size() > wire::kIpv4MinHeaderLen) {
    in.options = packet.ip_header.subspan(wire::kIpv4MinHeaderLen);
    in.meta.options_size = static_cast<std::uint8_t>(in.options.size());
  }
  if (packet.cast != ip::Cast::unicast) return deliver_to_all(in);
  if (Socket* socket = find(in)) return deliver(*socket, in);
  const bool wanted = in.kind == Kind::udp            ? forwarding.udp
                      : in.kind == Kind::echo_request ? forwarding.icmp_echo
                                                      : false;
  if (wanted && (!packet.to_us || forwarding.include_local)) return offer(in);
  if (!packet.to_us) return context_.drop(DropReason::ip_not_for_us, packet.interface);
  if (in.kind != Kind::udp) return;  // an echo reply nobody waits for
  //= RFC 1122 §4.1.3.1
  context_.drop(DropReason::udp_no_port, packet.interface);
  ip_.complain(packet, ip::Complaint::port_unreachable);
}

bool Sockets::matches(const Socket& socket, const Incoming& in) const noexcept {
  if (socket.bound_interface != kNoInterface && socket.bound_interface != in.packet.interface) {
    return false;
  }
  return !(socket.v6_only && socket.family == Family::v6 && in.packet.source.is_v4());
}

/// Lookup order: the whole tuple, then (address, port), then (any, port).
Socket* Sockets::find(const Incoming& in) noexcept {
  const Endpoint& to = in.meta.destination;
  const Endpoint& from = in.meta.source;
  if (connected_ != 0) {
    const std::uint16_t remote_port = in.kind == Kind::udp ? from.port : std::uint16_t{0};
    const Key key{to.address, from.address, to.port, remote_port, in.kind};
    if (Socket** head = table_.find(key)) {
      for (Socket* socket = *head; socket != nullptr; socket = socket->chain_next) {
        if (matches(*socket, in)) return socket;
      }
    }
  }
  if (!in.packet.to_us) return nullptr;
  if (Socket* socket = find_bound(in, to.address)) return socket;
  if (Socket* socket = find_bound(in, IpAddress::any(to.address.family()))) return socket;
  return to.address.is_v4() ? find_bound(in, IpAddress::any(Family::v6)) : nullptr;
}

// Among sockets that share a port by reuse_port the tuple decides, so that one flow stays with one
// socket; otherwise the newest takes all.
Socket* Sockets::find_bound(const Incoming& in, const IpAddress& local) noexcept {
  const Key key{local, IpAddress::any(local.family()), in.meta.destination.port, 0, in.kind};
  Socket** head = table_.find(key);
  if (head == nullptr) return nullptr;
  Socket* first = nullptr;
  std::uint32_t sharing = 0;
  for (Socket* socket = *head; socket != nullptr; socket = socket->chain_next) {
    if (!matches(*socket, in)) continue;
    if (first == nullptr) first = socket;
    if (socket->reuse_port) ++sharing;
  }
  if (first == nullptr || !first->reuse_port || sharing < 2) return first;
  const std::uint64_t hash =
      siphash13(spread_key_,
                KeyHash{}(spread_key_, {in.meta.destination.address, in.meta.source.address,
                                        in.meta.destination.port, in.meta.source.port, in.kind}));
  std::uint64_t skip = hash % sharing;
  for (Socket* socket = *head; socket != nullptr; socket = socket->chain_next) {
    if (matches(*socket, in) && socket->reuse_port && skip-- == 0) return socket;
  }
  return first;
}

//= RFC 1122 §4.1.3.5
// Broadcast and multicast go to every socket that fits. Nobody there is no error.
void Sockets::deliver_to_all(const Incoming& in) noexcept {
  const IpAddress& group = in.meta.destination.address;
  const std::array<IpAddress, 3> locals{group, IpAddress::any(group.family()),
                                        IpAddress::any(Family::v6)};
  const std::size_t count = group.is_v4() ? 3 : 2;
  bool any = false;
  for (std::size_t i = 0; i < count; ++i) {
    const Key key{locals[i], IpAddress::any(locals[i].family()), in.meta.destination.port, 0,
                  in.kind};
    Socket** head = table_.find(key);
    for (Socket* socket = head == nullptr ? nullptr : *head; socket != nullptr;
         socket = socket->chain_next) {
      if (!matches(*socket, in)) continue;
      deliver(*socket, in);
      any = true;
    }
  }
  if (!any) context_.drop(DropReason::udp_no_port, in.packet.interface);
}

void Sockets::deliver(Socket& socket, const Incoming& in) noexcept {
  const std::uint32_t before = socket.received.count();
  queue(socket.received, in, socket.receive_buffer);
  socket.datagrams_received += socket.received.count() - before;
  socket.bytes_received += in.size;
  update(socket);
}

// One entry for each datagram, also if a device has merged several.
void Sockets::queue(DatagramRing<ReceivedMeta>& ring, const Incoming& in,
                    std::size_t limit) noexcept {
  using Ring = DatagramRing<ReceivedMeta>;
  const std::size_t step = in.segment_size == 0 ? in.size : in.segment_size;
  std::size_t at = 0;
  do {
    const std::size_t size = std::min(step, in.size - at);
    std::array<Bytes, 5> parts;
    parts[0] = in.options;
    std::size_t skip = at, take = size;
    for (std::size_t i = 0; i < in.payload.size(); ++i) {
      const std::size_t from = std::min(skip, in.payload[i].size());
      parts[i + 1] = in.payload[i].subspan(from, std::min(take, in.payload[i].size() - from));
      skip -= from;
      take -= parts[i + 1].size();
    }
    const bool room = ring.bytes() + Ring::cost(size) <= limit || ring.empty();
    if (!room || ring.count() >= context_.config.udp.datagrams_max) {
      return context_.drop(DropReason::udp_buffer_full, in.packet.interface);
    }
    if (!ring.push(in.meta, parts)) {
      return context_.drop(DropReason::no_memory, in.packet.interface);
    }
    at += size;
  } while (at < in.size);
}

//= RFC 1122 §4.1.3.3
void Sockets::on_icmp_error(const ip::IcmpError& error) noexcept {
  if (error.quoted.size() < wire::kUdpHeaderLen) {
    return context_.drop(DropReason::icmp_quote_mismatch);
  }
  const std::byte* at = error.quoted.data();
  Key key{error.source, error.destination, 0, 0, Kind::udp};
  if (error.protocol == Protocol::udp) {
    key.local_port = wire::load_u16(at);
    key.remote_port = wire::load_u16(at + 2);
  } else {
    key.kind = Kind::echo_reply;
    key.local_port = wire::load_u16(at + 4);
  }
  Socket** head = connected_ == 0 ? nullptr : table_.find(key);
  if (head == nullptr) {
    const std::array<IpAddress, 3> locals{error.source, IpAddress::any(error.source.family()),
                                          IpAddress::any(Family::v6)};
    for (std::size_t i = 0; head == nullptr && i < (error.source.is_v4() ? 3U : 2U); ++i) {
      head =
          table_.find({locals[i], IpAddress::any(locals[i].family()), key.local_port, 0, key.kind});
    }
  }
  if (head == nullptr) return context_.drop(DropReason::icmp_quote_mismatch);
  if (error.kind == ip::IcmpError::Kind::packet_too_big) {
    ip_.lower_path_mtu(error.destination, error.next_hop_mtu);
  }
  Endpoint destination{error.destination, key.remote_port, 0};
  report(**head, error, destination);
}

void Sockets::keep(Socket& socket, const SocketErrorInfo& info, Bytes quote) noexcept {
  constexpr std::uint32_t kErrorsMax = 64;
  if (socket.errors.count() < kErrorsMax) (void)socket.errors.push(info, std::span(&quote, 1));
}

void Sockets::report(Socket& socket, const ip::IcmpError& error,
                     const Endpoint& destination) noexcept {
  const SocketError code = error_of(error.kind);
  if (code == SocketError::none) return;
  if (socket.receive_errors) {
    SocketErrorInfo info;
    info.error = code;
    info.icmp_type = error.type;
    info.icmp_code = error.code;
    info.info = error.next_hop_mtu;
    info.offender = shown(socket, {error.offender, 0, 0}).address;
    info.destination = shown(socket, destination);
    const std::size_t header = socket.id.kind == SocketKind::udp ? wire::kUdpHeaderLen : 0;
    keep(socket, info, error.quoted.subspan(header));
  }
  // A path that became narrower is no error unless the owner fragments by itself.
  const bool narrow = error.kind == ip::IcmpError::Kind::packet_too_big;
  const bool tell = narrow ? socket.mtu_discover >= 2 && (socket.connected || socket.receive_errors)
                           : socket.receive_errors || (socket.connected && is_hard(error.kind));
  if (tell) socket.error = code;
  update(socket);
}

}  // namespace tidewire::udp
