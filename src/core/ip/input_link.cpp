// From a frame of a device to an IP packet: metadata, Ethernet, ARP.
#include <algorithm>

#include "core/ip/layer.hpp"
#include "wire/arp.hpp"
#include "wire/ethernet.hpp"

namespace tidewire::ip {

using link::Interface;

void Layer::Arrival::trim(std::size_t total) noexcept {
  const auto cut = [&total](Bytes& part) {
    part = part.first(std::min(part.size(), total));
    total -= part.size();
  };
  cut(packet);
  for (Bytes& part : more) cut(part);
}

void Layer::on_frames(InterfaceId id, std::span<const RxFrame> frames, bool stay) noexcept {
  frames_stay_ = stay;
  Interface* interface = interfaces_.get(id);
  if (interface == nullptr) return;
  Counters& counters = context_.counters;
  while (!frames.empty()) {
    const RxFrame& frame = frames.front();
    frames = frames.subspan(1);
    ++counters.frames_in;
    counters.bytes_in += frame.size();
    if (!interface->up) {
      context_.drop(DropReason::interface_down, id);
      continue;
    }
    if (frames.empty() || frame.segs != 1) {
      on_frame(*interface, frame, nullptr);
      continue;
    }
    Train train{frame.head, frames, interface->trusted};
    on_frame(*interface, frame, &train);
    counters.frames_in += train.taken();
    counters.bytes_in += train.taken_bytes();
    counters.ip_in += train.taken();
    frames = frames.subspan(train.taken());
  }
}

bool Layer::on_known(Interface& interface, const RxFrame& frame, Train* train) noexcept {
  if (frame.seg_size != 0 || frame.segs != 1 || frame.size() != frame.head.size()) return false;
  Bytes packet = frame.head;
  if (interface.medium == Medium::ethernet) {
    constexpr auto kIpv4 = static_cast<std::uint16_t>(wire::EtherType::ipv4);
    if (packet.size() < wire::kEthernetHeaderLen ||
        wire::load_mac(packet.data()) != interface.mac ||
        wire::load_u16(packet.data() + 2 * sizeof(MacAddress)) != kIpv4) {
      return false;
    }
    packet = packet.subspan(wire::kEthernetHeaderLen);
  }
  return on_known(interface, packet, frame, train);
}

void Layer::on_frame(Interface& interface, const RxFrame& frame, Train* train) noexcept {
  if (on_known(interface, frame, train)) return;
  Arrival arrival{interface,
                  frame.head,
                  frame.more,
                  frame.seg_size,
                  frame.segs,
                  interface.trusted ? frame.checksum : ChecksumState::unknown,
                  earlier(frame.ingress, context_.now),
                  false,
                  train};
  if (interface.medium == Medium::ethernet) {
    on_ethernet(arrival);
  } else {
    on_ip(arrival);
  }
}

// A frame without a link header says by its first four bits what it is.
void Layer::on_ip(Arrival& arrival) noexcept {
  const bool v6 = !arrival.packet.empty() && wire::load_u8(arrival.packet.data()) >> 4 == 6;
  if (v6) return on_ipv6(arrival);
  on_ipv4(arrival);
}

//= RFC 1122 §2.3.3
//= RFC 894
void Layer::on_ethernet(Arrival& arrival) noexcept {
  const auto view = wire::EthernetView::parse(arrival.packet);
  const InterfaceId id = arrival.interface.id;
  if (!view) return context_.drop(DropReason::frame_too_short, id);
  const MacAddress destination = view->destination();
  arrival.link_group = destination.is_multicast();
  if (!arrival.link_group && destination != arrival.interface.mac) {
    return context_.drop(DropReason::not_for_us_mac, id);
  }
  wire::EtherType type = view->ether_type();
  Bytes payload = view->payload();
  //= RFC 1042
  // IEEE 802.3 length, then LLC/SNAP with an EtherType: received, never sent.
  if (static_cast<std::uint16_t>(type) < 0x0600) {
    Reader reader{payload};
    const std::uint32_t llc = reader.u32();
    const std::uint16_t oui = reader.u16();
    const std::uint16_t inner = reader.u16();
    if (!reader.ok() || llc != 0xaaaa'0300U || oui != 0) {
      return context_.drop(DropReason::unknown_ethertype, id);
    }
    type = static_cast<wire::EtherType>(inner);
    payload = reader.rest();
  }
  arrival.packet = payload;
  switch (type) {
    case wire::EtherType::ipv4:
      return on_ipv4(arrival);
    case wire::EtherType::arp:
      return on_arp(arrival);
    default:
      return context_.drop(DropReason::unknown_ethertype, id);
  }
}

//= RFC 826 Packet Reception
void Layer::on_arp(Arrival& arrival) noexcept {
  Interface& interface = arrival.interface;
  ++context_.counters.arp_in;
  const auto arp = wire::ArpView::parse(arrival.packet);
  if (!arp) return context_.drop(DropReason::arp_malformed, interface.id);
  const IpAddress sender = arp->sender_ip();
  const IpAddress target = arp->target_ip();
  const MacAddress mac = arp->sender_mac();
  if (mac.is_multicast() || mac.is_zero() || mac == interface.mac || sender.is_multicast() ||
      sender.is_loopback() || interfaces_.is_broadcast(sender)) {
    return context_.drop(DropReason::arp_spoof, interface.id);
  }
  if (interfaces_.is_local(sender)) {
    //= RFC 5227 §2.4
    // Somebody claims our address: counted, not believed.
    return context_.drop(DropReason::arp_spoof, interface.id);
  }
  const bool for_us = interfaces_.is_local(target) && !target.is_loopback();
  const bool request = arp->operation() == wire::ArpOperation::request;
  if (!sender.is_unspecified()) {
    // A reply nobody asked for makes no entry; a request for us does.
    const bool merged =
        neighbors_.learn(interface.id, sender, mac, !request && for_us, for_us && request);
    if (!request && !merged) return context_.drop(DropReason::arp_spoof, interface.id);
  }
  if (!for_us) {
    if (sender != target) context_.drop(DropReason::arp_not_for_us, interface.id);
    return;
  }
  // The opcode is looked at after the table was updated.
  if (request) send_arp(interface, true, target, mac, sender, mac);
}

void Layer::send_arp(const Interface& interface, bool reply, const IpAddress& sender,
                     const MacAddress& target_mac, const IpAddress& target,
                     const MacAddress& link_destination) noexcept {
  link::QueuedPacket* packet = store_.acquire(wire::kArpLen);
  if (packet == nullptr) return context_.drop(DropReason::no_memory, interface.id);
  wire::ArpRepr repr;
  repr.operation = reply ? wire::ArpOperation::reply : wire::ArpOperation::request;
  repr.sender_mac = interface.mac;
  repr.sender_ip = sender;
  repr.target_mac = target_mac;
  repr.target_ip = target;
  Writer writer{packet->bytes()};
  wire::emit(repr, writer);
  packet->ether_type = wire::EtherType::arp;
  packet->link_destination = link_destination;
  packet->interface = interface.id;
  if (put_in_outbox(*packet, *interfaces_.get(interface.id))) ++context_.counters.arp_out;
}

//= RFC 826 Packet Generation
void Layer::ask(const link::Neighbor& entry, bool unicast) noexcept {
  const Interface* interface = interfaces_.get(entry.interface);
  const IpAddress* source = interfaces_.best_source(entry.interface, entry.address);
  // An interface without an address asks as 0.0.0.0, like a probe (RFC 5227 §1.1).
  send_arp(*interface, false, source == nullptr ? IpAddress{} : *source,
           unicast ? entry.mac : MacAddress{}, entry.address,
           unicast ? entry.mac : MacAddress::broadcast());
}

void Layer::resolved(link::Neighbor& entry) noexcept {
  Interface* interface = interfaces_.get(entry.interface);
  while (link::QueuedPacket* packet = entry.queue.pop()) {
    packet->link_destination = entry.mac;
    (void)put_in_outbox(*packet, *interface);
  }
  upper_.neighbor_resolved(entry.interface);
}

void Layer::failed(link::Neighbor& entry) noexcept {
  paths_changed();  // another gateway may be better now
  while (link::QueuedPacket* packet = entry.queue.pop()) {
    context_.drop(DropReason::neighbor_failed, entry.interface);
    report_unreachable(*packet);
    store_.release(*packet);
  }
  upper_.neighbor_failed(entry.interface, entry.address);
}

// Nobody answered at the next hop: the sender hears of it, here or over the wire.
void Layer::report_unreachable(link::QueuedPacket& packet) noexcept {
  const auto view = wire::Ipv4View::parse(packet.bytes());
  if (!view || view->fragment_offset() != 0) return;
  if (packet.forwarded) {
    return complain({packet.interface, view->source(), view->destination(), view->protocol(),
                     view->header(), view->payload(), true},
                    Complaint::host_unreachable);
  }
  IcmpError error;
  error.kind = IcmpError::Kind::host_unreachable;
  error.type = static_cast<std::uint8_t>(wire::Icmpv4Type::destination_unreachable);
  error.code = wire::icmpv4_unreachable::host;
  error.offender = error.source = view->source();
  error.destination = view->destination();
  error.protocol = static_cast<Protocol>(view->protocol());
  error.quoted = view->payload();
  upper_.icmp_error(error);
}

void Layer::forgotten(link::Neighbor& entry) noexcept {
  paths_changed();
  // Whoever was told to wait for it finds another way, or asks anew.
  if (entry.flow_waits) upper_.neighbor_resolved(entry.interface);
}

}  // namespace tidewire::ip
