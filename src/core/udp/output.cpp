// Datagrams out: addressing, the send queue, transmission when polled.
#include <algorithm>

#include "core/udp/sockets.hpp"
#include "wire/icmpv4.hpp"
#include "wire/udp.hpp"

namespace tidewire::udp {
namespace {

std::size_t size_of(std::span<const Bytes> parts) noexcept {
  std::size_t size = 0;
  for (const Bytes part : parts) size += part.size();
  return size;
}

/// Takes `count` bytes off the front of two spans that follow each other.
struct Split {
  Bytes first, second;
  void take(MutBytes out) noexcept {
    const std::size_t a = std::min(out.size(), first.size());
    std::ranges::copy(first.first(a), out.begin());
    std::ranges::copy(second.first(out.size() - a), out.begin() + static_cast<std::ptrdiff_t>(a));
    first = first.subspan(a);
    second = second.subspan(out.size() - a);
  }
};

constexpr std::size_t overhead(const IpAddress& destination) noexcept {
  return (destination.is_v4() ? 20U : 40U) + wire::kUdpHeaderLen;
}

}  // namespace

// Fills in what the caller left open, and refuses what cannot be sent.
SocketResult<SendMeta> Sockets::address(Socket& socket, const DatagramTarget& target) noexcept {
  SendMeta meta;
  if (target.destination) {
    const auto inside = accepted(socket, *target.destination);
    if (!inside) return fail(inside.error());
    meta.destination = *inside;
    if (socket.id.kind == SocketKind::udp && meta.destination.port == 0) {
      return fail(SocketError::invalid);
    }
    if (meta.destination.address.is_unspecified()) {
      meta.destination.address = IpAddress::loopback(meta.destination.address.family());
    }
  } else if (socket.connected) {
    meta.destination = socket.remote;
  } else {
    return fail(SocketError::destination_required);
  }
  const IpAddress& to = meta.destination.address;
  meta.bound = target.interface != kNoInterface ? target.interface : socket.bound_interface;
  if (meta.bound == kNoInterface && to.is_multicast()) meta.bound = socket.multicast_interface;
  if (auto bound = bind_implicitly(socket); !bound) return fail(bound.error());
  meta.source = socket.local;
  if (auto chosen = choose_source(socket, target, meta); !chosen) return fail(chosen.error());
  meta.tos = target.tos >= 0 ? static_cast<std::uint8_t>(target.tos) : socket.tos;
  const std::uint8_t ttl = to.is_multicast() ? socket.multicast_ttl : socket.ttl;
  meta.ttl = target.ttl > 0 ? static_cast<std::uint8_t>(target.ttl) : ttl;
  meta.segment_size = target.segment_size;
  meta.mtu_discover = socket.mtu_discover;
  if (to.is_multicast()) meta.loop = socket.multicast_loop;
  return meta;
}

// The answer is kept as long as the same destination is asked for and nothing has changed.
SocketResult<void> Sockets::choose_source(Socket& socket, const DatagramTarget& target,
                                          SendMeta& meta) noexcept {
  const IpAddress& to = meta.destination.address;
  Socket::Chosen& last = socket.chosen;
  if (!target.source && last.generation == ip_.generation() && last.destination == to &&
      last.bound == meta.bound && last.asked == meta.source.address) {
    meta.source.address = last.source;
    return {};
  }
  const bool broadcast = ip_.is_broadcast(to);
  if (broadcast && !socket.broadcast && !socket.transparent) {
    return fail(SocketError::access_denied);
  }
  meta.loop = broadcast;
  if (target.source && !socket.transparent) {
    meta.source.address = target.source->unmapped();
    //= RFC 1122 §4.1.3.6
    if (!ip_.is_local(meta.source.address)) return fail(SocketError::address_not_available);
  }
  const IpAddress from = meta.source.address;
  if (from.is_unspecified() || from.is_multicast() || ip_.is_broadcast(from)) {
    const auto chosen = ip_.source_for(to, meta.bound);
    if (!chosen) return fail(chosen.error());
    meta.source.address = *chosen;
  } else if (from.family() != to.family()) {
    return fail(SocketError::network_unreachable);
  } else if (auto hop = ip_.route(to, meta.bound); !hop) {
    return fail(hop.error());
  } else if (from.is_loopback() && !ip_.interfaces().get(hop->interface)->loopback) {
    return fail(SocketError::invalid);
  }
  if (!target.source && !broadcast) {
    last = {ip_.generation(), meta.bound, to, from, meta.source.address};
  }
  return {};
}

SocketResult<void> Sockets::check_size(const Socket& socket, const SendMeta& meta,
                                       std::size_t size) const noexcept {
  const IpAddress& to = meta.destination.address;
  // An echo message brings its header along.
  const std::size_t headers = overhead(to) - (socket.protocol == Protocol::udp ? 0 : 8);
  if (size + headers > 65'535) return fail(SocketError::message_too_long);
  const std::size_t piece =
      meta.segment_size == 0 ? size : std::min<std::size_t>(meta.segment_size, size);
  const bool segmented = meta.segment_size != 0 && size > meta.segment_size;
  constexpr std::size_t kSegmentsMax = 128;
  if (segmented && (size + piece - 1) / piece > kSegmentsMax) return fail(SocketError::invalid);
  if (segmented || to.is_v6() || socket.mtu_discover == 2) {
    const std::uint32_t mtu = ip_.path_mtu(to, meta.bound);
    if (piece + headers > mtu) return fail(SocketError::message_too_long);
  }
  return {};
}

// IP_RECVERR tells how long it may be.
void Sockets::report_too_long(Socket& socket, const SendMeta& meta) noexcept {
  if (!socket.receive_errors) return;
  SocketErrorInfo info;
  info.error = SocketError::message_too_long;
  info.local = true;
  info.info = ip_.path_mtu(meta.destination.address, meta.bound);
  info.destination = shown(socket, meta.destination);
  keep(socket, info, {});
  update(socket);
}

SocketResult<void> Sockets::send(SocketId id, std::span<const Bytes> data,
                                 const DatagramTarget& target) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (socket->write_shut) return fail(SocketError::broken_pipe);
  if (socket->error != SocketError::none) return fail(take_error(id));
  const std::size_t size = size_of(data);
  if (size > 65'535) return fail(SocketError::message_too_long);
  const auto meta = address(*socket, target);
  if (!meta) return fail(meta.error());
  if (auto fits = check_size(*socket, *meta, size); !fits) {
    if (fits.error() == SocketError::message_too_long) report_too_long(*socket, *meta);
    return fits;
  }
  const std::size_t cost = DatagramRing<SendMeta>::cost(size);
  const bool room = socket->queued.empty() || socket->queued.bytes() + cost <= socket->send_buffer;
  if (!room) {
    socket->events.reported = static_cast<std::uint16_t>(socket->events.reported & ~kWritable);
    return fail(SocketError::would_block);
  }
  if (!target.ip_options.empty()) {
    return enqueue_with_options(*socket, *meta, data, target.ip_options);
  }
  if (socket->id.kind == SocketKind::icmp) return enqueue_echo(*socket, *meta, data, size);
  return enqueue(*socket, *meta, data);
}

SocketResult<void> Sockets::enqueue(Socket& socket, const SendMeta& meta,
                                    std::span<const Bytes> data) noexcept {
  if (!socket.queued.push(meta, data)) return fail(SocketError::no_buffers);
  if (!socket.ListNode<ReadyTag>::linked()) ready_.push_back(socket);
  update(socket);
  return {};
}

//= RFC 1122 §4.1.3.2
SocketResult<void> Sockets::enqueue_with_options(Socket& socket, SendMeta meta,
                                                 std::span<const Bytes> data,
                                                 Bytes options) noexcept {
  if (meta.destination.address.is_v6() || socket.id.kind != SocketKind::udp) {
    return fail(SocketError::not_supported);
  }
  const auto prepared = ip::prepare_options(options, meta.destination.address);
  constexpr std::size_t kPartsMax = 8;
  if (!prepared || data.size() > kPartsMax || meta.segment_size != 0) {
    return fail(SocketError::invalid);
  }
  meta.options_size = prepared->options.size;
  meta.routed = prepared->first_hop.has_value();
  if (meta.routed) {
    meta.via = *prepared->first_hop;
    if (auto hop = ip_.route(meta.via, meta.bound); !hop) return fail(hop.error());
  }
  std::array<Bytes, kPartsMax + 1> parts;
  parts[0] = prepared->options.view();
  std::ranges::copy(data, parts.begin() + 1);
  return enqueue(socket, meta, std::span{parts}.first(data.size() + 1));
}

//= RFC 1122 §3.2.2.6
// The identifier is the socket's; of a forwarded flow the reply goes back, else a request goes out.
SocketResult<void> Sockets::enqueue_echo(Socket& socket, const SendMeta& meta,
                                         std::span<const Bytes> data, std::size_t size) noexcept {
  std::array<std::byte, wire::kIcmpHeaderLen> header;
  if (size < header.size() || data.empty() || data[0].size() < header.size()) {
    return fail(SocketError::invalid);
  }
  std::ranges::copy(data[0].first(header.size()), header.begin());
  const bool v4 = meta.destination.address.is_v4();
  const unsigned wanted = v4 ? (socket.transparent ? 0U : 8U) : (socket.transparent ? 129U : 128U);
  if (wire::load_u8(header.data()) != wanted || wire::load_u8(header.data() + 1) != 0) {
    return fail(SocketError::invalid);
  }
  wire::store_u16(header.data() + 4, socket.local.port);
  wire::store_u16(header.data() + 2, 0);
  wire::Checksum sum;
  if (!v4) {
    sum.add_pseudo_header(meta.source.address, meta.destination.address, wire::protocol::icmpv6,
                          static_cast<std::uint32_t>(size));
  }
  sum.add(header);
  sum.add(data[0].subspan(header.size()));
  for (const Bytes part : data.subspan(1)) sum.add(part);
  wire::store_u16(header.data() + 2, sum.finish());
  constexpr std::size_t kPartsMax = 8;
  std::array<Bytes, kPartsMax + 1> parts;
  if (data.size() > kPartsMax) return fail(SocketError::invalid);
  parts[0] = header;
  std::ranges::copy(data, parts.begin() + 1);
  parts[1] = data[0].subspan(header.size());
  return enqueue(socket, meta, std::span{parts}.first(data.size() + 1));
}

Transmit Sockets::poll_transmit(TxBudget& budget) noexcept {
  while (Socket* socket = ready_.front()) {
    if (budget.frames == 0 || budget.bytes == 0) return Transmit::budget_spent;
    const ip::SendResult result = transmit(*socket, budget);
    if (result.status == ip::Sent::full) {
      blocked_.push_back(*socket);
      continue;
    }
    finish_transmit(*socket, result);
  }
  return blocked_.empty() ? Transmit::idle : Transmit::blocked;
}

ip::SendResult Sockets::transmit(Socket& socket, TxBudget& budget) noexcept {
  const auto front = socket.queued.front();
  const SendMeta& meta = front.meta;
  Split split{front.first, front.second};
  ip::OptionBytes options;
  options.size = meta.options_size;
  split.take(MutBytes{options.bytes}.first(options.size));
  const std::array<Bytes, 2> payload{split.first, split.second};
  ip::HeaderBuffer headers;
  ip::OutPacket out;
  out.options = options.view();
  if (meta.routed) out.via = &meta.via;
  out.source = meta.source.address;
  out.destination = meta.destination.address;
  out.protocol = socket.protocol;
  out.tos = meta.tos;
  out.ttl = meta.ttl;
  const std::size_t size = front.size() - meta.options_size;
  if (socket.id.kind == SocketKind::udp) {
    Writer writer{headers.transport()};
    wire::UdpRepr repr;
    repr.source_port = meta.source.port;
    repr.destination_port = meta.destination.port;
    repr.payload_len = static_cast<std::uint16_t>(size);
    wire::emit(repr, writer, 0);
    out.transport_header_len = wire::kUdpHeaderLen;
    out.checksum_offset = wire::kUdpChecksumOffset;
    if (meta.segment_size != 0 && size > meta.segment_size) {
      out.seg_size = meta.segment_size;
      out.segs = static_cast<std::uint16_t>((size + meta.segment_size - 1) / meta.segment_size);
    }
  }
  out.payload = payload;
  const IpAddress& way = meta.routed ? meta.via : out.destination;
  if (socket.path_destination != way || socket.path_bound != meta.bound) {
    socket.path = {};
    socket.path_destination = way;
    socket.path_bound = meta.bound;
  }
  const std::uint64_t before = context_.counters.frames_out;
  //= RFC 1191 §3
  out.dont_fragment = meta.mtu_discover != 0;
  ip::SendResult result = ip_.send_datagram(headers, out, socket.path, meta.bound, meta.loop);
  if (result.status == ip::Sent::too_big && meta.mtu_discover == 1 && out.seg_size == 0) {
    out.dont_fragment = false;
    result = ip_.send_datagram(headers, out, socket.path, meta.bound, false);
  }
  if (result.status == ip::Sent::taken) {
    // At least itself, and every fragment.
    const std::uint64_t frames = context_.counters.frames_out - before;
    budget.frames -=
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(frames, 1, budget.frames));
    budget.bytes -= std::min<std::uint64_t>(budget.bytes, size + overhead(out.destination));
    context_.counters.udp_out += socket.id.kind == SocketKind::udp ? out.segs : 0U;
    context_.counters.icmp_out += socket.id.kind == SocketKind::icmp ? 1U : 0U;
    ++socket.datagrams_sent;
    socket.bytes_sent += size;
  }
  return result;
}

// Sent, or impossible to send: either way the datagram is done, and the next socket has its turn.
void Sockets::finish_transmit(Socket& socket, const ip::SendResult& result) noexcept {
  socket.queued.pop();
  if (result.status != ip::Sent::taken && result.error != SocketError::none &&
      (socket.connected || socket.receive_errors)) {
    socket.error = result.error;
  }
  if (!socket.queued.empty()) {
    ready_.push_back(socket);
  } else {
    socket.unlink();
    if (!socket.owned) return release(socket);
  }
  if (socket.owned) update(socket);
}

SocketResult<DatagramInfo> Sockets::receive(SocketId id, MutBytes out, bool peek) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (socket->error != SocketError::none) return fail(take_error(id));
  if (socket->received.empty()) {
    if (!socket->read_shut) return fail(SocketError::would_block);
    return DatagramInfo{};
  }
  const auto front = socket->received.front();
  DatagramInfo info;
  info.source = shown(*socket, front.meta.source);
  info.destination = shown(*socket, front.meta.destination);
  info.interface = front.meta.interface;
  info.tos = front.meta.tos;
  info.ttl = front.meta.ttl;
  info.ingress = front.meta.ingress;
  Split split{front.first, front.second};
  info.ip_options_size = front.meta.options_size;
  split.take(MutBytes{info.ip_options}.first(info.ip_options_size));
  info.size = static_cast<std::uint32_t>(split.first.size() + split.second.size());
  Writer writer{out};
  writer.bytes(split.first.first(std::min(split.first.size(), out.size())));
  writer.bytes(split.second.first(std::min(split.second.size(), writer.remaining())));
  info.copied = static_cast<std::uint32_t>(writer.written());
  if (!peek) {
    socket->received.pop();
    update(*socket);
  }
  return info;
}

}  // namespace tidewire::udp
