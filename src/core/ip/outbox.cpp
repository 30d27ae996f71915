// Packets of no socket on their way out: replies, forwarded packets, what waited for a neighbor.
#include <algorithm>
#include <cstring>

#include "core/ip/layer.hpp"
#include "wire/ethernet.hpp"

namespace tidewire::ip {
namespace {

/// The options of a header that every fragment repeats (RFC 791 §3.1: copied flag), padded.
std::size_t copied_options(Bytes options, MutBytes out) noexcept {
  std::size_t length = 0;
  while (!options.empty()) {
    const std::uint8_t kind = wire::load_u8(options.data());
    if (kind == 0) break;
    const std::size_t size =
        kind == 1 || options.size() < 2 ? 1 : wire::load_u8(options.data() + 1);
    if (size == 0 || size > options.size()) break;
    if (kind >= 128) {
      std::memcpy(out.data() + length, options.data(), size);
      length += size;
    }
    options = options.subspan(size);
  }
  while (length % 4 != 0) out[length++] = std::byte{0};
  return length;
}

constexpr std::size_t kFront = 16;  // room for the link header in front of a rebuilt IP header

}  // namespace

bool Layer::put_in_outbox(link::QueuedPacket& packet, link::Interface& interface) noexcept {
  packet.interface = interface.id;
  const bool room = interface.outbox.empty() ||
                    interface.outbox.size_bytes() + packet.size <= context_.config.ip.outbox_bytes;
  if (!room || !interface.up) {
    context_.drop(interface.up ? DropReason::outbox_full : DropReason::interface_down,
                  interface.id);
    store_.release(packet);
    return false;
  }
  interface.outbox.push(packet);
  ++waiting_;
  return true;
}

// Takes a packet that is on its way to `hop`.
bool Layer::enqueue(link::QueuedPacket& packet, const Hop& hop) noexcept {
  link::Interface& interface = *interfaces_.get(hop.interface);
  packet.interface = hop.interface;
  if (interface.medium == Medium::ethernet) {
    if (cast_of(hop.interface, hop.next_hop) != Cast::unicast) {
      packet.link_destination = group_mac(hop.next_hop);
    } else {
      link::Neighbor* neighbor = neighbors_.get(neighbors_.intern(hop.interface, hop.next_hop));
      if (neighbor == nullptr) {
        store_.release(packet);
        return false;
      }
      if (!neighbors_.use(*neighbor)) {
        neighbors_.enqueue(*neighbor, packet);
        return true;
      }
      packet.link_destination = neighbor->mac;
    }
  }
  return put_in_outbox(packet, interface);
}

Transmit Layer::poll_outboxes(TxBudget& budget) noexcept {
  if (waiting_ == 0) return Transmit::idle;
  bool any_blocked = false;
  for (InterfaceId id = 0; id < interfaces_.count(); ++id) {
    link::Interface& interface = *interfaces_.get(id);
    while (link::QueuedPacket* packet = interface.outbox.front()) {
      if (interface.blocked) break;
      if (budget.frames == 0 || budget.bytes == 0) return Transmit::budget_spent;
      if (!push_queued(interface, *packet, budget)) break;
    }
    any_blocked = any_blocked || !interface.outbox.empty();
  }
  return any_blocked ? Transmit::blocked : Transmit::idle;
}

// Pushes the packet at the front of the outbox, as fragments if it must be. False: full.
bool Layer::push_queued(link::Interface& interface, link::QueuedPacket& packet,
                        TxBudget& budget) noexcept {
  const std::uint32_t mtu = packet.mtu == 0 ? interface.mtu : std::min(packet.mtu, interface.mtu);
  const bool whole =
      packet.size <= mtu || packet.seg_size != 0 || packet.ether_type != wire::EtherType::ipv4;
  const bool done = whole ? push_whole(interface, packet, budget)
                          : push_fragments(interface, packet, mtu, budget);
  if (!done) return false;
  (void)interface.outbox.pop();
  --waiting_;
  store_.release(packet);
  return true;
}

bool Layer::push_whole(link::Interface& interface, link::QueuedPacket& packet,
                       TxBudget& budget) noexcept {
  // Headers must be one span: link header, then what of the packet is header.
  std::array<std::byte, 144> front;
  Writer writer{front};
  TxFrame frame;
  frame.interface = interface.id;
  if (interface.medium == Medium::ethernet) {
    wire::EthernetRepr repr;
    repr.destination = packet.link_destination;
    repr.source = interface.mac;
    repr.ether_type = packet.ether_type;
    wire::emit(repr, writer);
    frame.network_offset = wire::kEthernetHeaderLen;
  }
  const std::size_t link = writer.written();
  const Bytes bytes = packet.bytes();
  const std::size_t head = std::min<std::size_t>(bytes.size(), front.size() - link);
  std::size_t header = head;
  if (packet.seg_size != 0 && packet.transport_offset != 0) {
    const bool tcp = packet.checksum_offset == 16;
    header = packet.transport_offset +
             (tcp ? (wire::load_u8(bytes.data() + packet.transport_offset + 12) >> 4) * 4U : 8U);
    header = std::min(header, head);
  }
  writer.bytes(bytes.first(header));
  const Bytes rest = bytes.subspan(header);
  frame.headers = Bytes{front}.first(writer.written());
  frame.payload = {&rest, 1};
  frame.seg_size = packet.seg_size;
  frame.segs = packet.segs;
  if (packet.transport_offset != 0) {
    frame.transport_offset = static_cast<std::uint8_t>(link + packet.transport_offset);
  }
  frame.checksum_pending = packet.checksum_pending;
  frame.checksum_offset = packet.checksum_offset;
  if (push(interface, frame) == PushResult::full) return false;
  --budget.frames;
  budget.bytes -= std::min<std::uint64_t>(budget.bytes, frame.size());
  if (packet.ether_type != wire::EtherType::arp) context_.counters.ip_out += packet.segs;
  return true;
}

//= RFC 791 §3.2
bool Layer::push_fragments(link::Interface& interface, link::QueuedPacket& packet,
                           std::uint32_t mtu, TxBudget& budget) noexcept {
  const auto view = wire::Ipv4View::parse(packet.bytes());
  if (!view) return true;  // not possible: we built or checked it
  wire::Ipv4Repr repr = wire::to_repr(*view);
  const std::uint32_t base = repr.fragment_offset;
  const bool more_after = repr.more_fragments;
  const Bytes payload = view->payload();
  std::array<std::byte, wire::kIpv4MaxOptionsLen> options;
  const Bytes later{options.data(), copied_options(view->options(), options)};
  while (packet.sent < payload.size()) {
    if (packet.sent != 0) repr.options = later;
    const std::size_t room = mtu - wire::header_len(repr);
    const std::size_t left = payload.size() - packet.sent;
    const std::size_t size = left <= room ? left : room / 8 * 8;
    repr.fragment_offset = static_cast<std::uint16_t>(base + packet.sent);
    repr.more_fragments = more_after || size < left;
    repr.payload_len = static_cast<std::uint16_t>(size);
    std::array<std::byte, kFront + 60> front;
    Writer writer{front};
    TxFrame frame;
    frame.interface = interface.id;
    if (interface.medium == Medium::ethernet) {
      wire::EthernetRepr ethernet;
      ethernet.destination = packet.link_destination;
      ethernet.source = interface.mac;
      wire::emit(ethernet, writer);
      frame.network_offset = wire::kEthernetHeaderLen;
    }
    wire::emit(repr, writer);
    const Bytes part = payload.subspan(packet.sent, size);
    frame.headers = Bytes{front}.first(writer.written());
    frame.payload = {&part, 1};
    if (push(interface, frame) == PushResult::full) return false;
    ++context_.counters.ip_fragments_out;
    ++context_.counters.ip_out;
    packet.sent += static_cast<std::uint32_t>(size);
    if (budget.frames != 0) --budget.frames;
    budget.bytes -= std::min<std::uint64_t>(budget.bytes, frame.size());
  }
  return true;
}

//= RFC 1112 §6.4
// A copy for the members of the group on this host.
void Layer::loop_back(link::QueuedPacket& packet) noexcept {
  const InterfaceId loopback = interfaces_.loopback();
  if (loopback == kNoInterface) return store_.release(packet);
  packet.mtu = 0;
  (void)put_in_outbox(packet, *interfaces_.get(loopback));
}

void Layer::queue_reply(const IpAddress& source, const IpAddress& destination, Protocol protocol,
                        Bytes transport_header, std::uint8_t checksum_offset) noexcept {
  const auto hop = route(destination, kNoInterface);
  if (!hop) return context_.drop(DropReason::ip_no_route);
  HeaderBuffer headers;
  if (transport_header.size() > HeaderBuffer::kTransportMax) return;
  std::ranges::copy(transport_header, headers.transport().begin());
  OutPacket out;
  out.source = source;
  out.destination = destination;
  out.protocol = protocol;
  out.transport_header_len = transport_header.size();
  out.checksum_offset = checksum_offset;
  Path path;
  path.interface = hop->interface;
  link::QueuedPacket* packet = copy_packet(headers, out, path, 0);
  if (packet == nullptr) return context_.drop(DropReason::no_memory, hop->interface);
  (void)enqueue(*packet, *hop);
}

}  // namespace tidewire::ip
