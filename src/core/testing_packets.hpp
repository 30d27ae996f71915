// Packets for tests: built field by field, taken apart again.
#pragma once

#include <string_view>

#include "core/testing.hpp"
#include "wire/arp.hpp"
#include "wire/ethernet.hpp"
#include "wire/icmpv4.hpp"
#include "wire/ipv4.hpp"
#include "wire/udp.hpp"

namespace tidewire::testing {

inline Frame frame_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

/// An IPv4 packet from a description; payload_len and checksum are filled in.
inline Frame ipv4(wire::Ipv4Repr repr, Bytes payload) {
  repr.payload_len = static_cast<std::uint16_t>(payload.size());
  Frame out(wire::header_len(repr) + payload.size());
  Writer writer{out};
  wire::emit(repr, writer);
  writer.bytes(payload);
  return out;
}
inline wire::Ipv4Repr header(std::string_view from, std::string_view to, std::uint8_t protocol) {
  wire::Ipv4Repr repr;
  repr.source = ip(from);
  repr.destination = ip(to);
  repr.protocol = protocol;
  return repr;
}

inline Frame udp_segment(const Endpoint& from, const Endpoint& to, std::string_view text) {
  Frame out(wire::kUdpHeaderLen + text.size());
  Writer writer{out};
  const Bytes payload = bytes_of(text);
  wire::emit({from.port, to.port, static_cast<std::uint16_t>(text.size())}, writer, from.address,
             to.address, {&payload, 1});
  writer.bytes(payload);
  return out;
}
/// A whole UDP packet; `shape` may set any field of the IP header.
template <typename F>
Frame udp4(std::string_view from, std::string_view to, std::string_view text, F&& shape) {
  const Endpoint source = at(from), destination = at(to);
  wire::Ipv4Repr repr;
  repr.source = source.address;
  repr.destination = destination.address;
  repr.protocol = wire::protocol::udp;
  shape(repr);
  return ipv4(repr, udp_segment(source, destination, text));
}
inline Frame udp4(std::string_view from, std::string_view to, std::string_view text) {
  return udp4(from, to, text, [](wire::Ipv4Repr&) {});
}

inline Frame icmp4(const wire::Icmpv4Repr& repr) {
  Frame out(wire::kIcmpHeaderLen + repr.payload.size());
  Writer writer{out};
  wire::emit(repr, writer);
  return out;
}
inline Frame echo_request(std::string_view from, std::string_view to, std::string_view data) {
  return ipv4(header(from, to, wire::protocol::icmp),
              icmp4(wire::Icmpv4Repr::echo(wire::Icmpv4Type::echo_request, 7, 1, bytes_of(data))));
}

inline Frame ether(const MacAddress& to, const MacAddress& from, wire::EtherType type,
                   Bytes payload) {
  Frame out(wire::kEthernetHeaderLen + payload.size());
  Writer writer{out};
  wire::emit({to, from, type}, writer);
  writer.bytes(payload);
  return out;
}
constexpr MacAddress mac(std::uint8_t last) { return {{2, 0, 0, 0, 0, last}}; }

inline Frame arp(wire::ArpOperation operation, const MacAddress& sender_mac,
                 std::string_view sender, const MacAddress& target_mac, std::string_view target) {
  Frame out(wire::kArpLen);
  Writer writer{out};
  wire::emit({operation, sender_mac, ip(sender), target_mac, ip(target)}, writer);
  return out;
}
/// A broadcast "who has `target`?" in its Ethernet frame.
inline Frame who_has(const MacAddress& sender_mac, std::string_view sender,
                     std::string_view target) {
  return ether(MacAddress::broadcast(), sender_mac, wire::EtherType::arp,
               arp(wire::ArpOperation::request, sender_mac, sender, {}, target));
}
/// "`sender` is at sender_mac", to one host.
inline Frame is_at(const MacAddress& sender_mac, std::string_view sender,
                   const MacAddress& target_mac, std::string_view target) {
  return ether(target_mac, sender_mac, wire::EtherType::arp,
               arp(wire::ArpOperation::reply, sender_mac, sender, target_mac, target));
}

inline wire::EthernetView ethernet_of(Bytes frame) {
  return wire::EthernetView::parse(frame).value();
}
inline wire::ArpView arp_of(const Frame& frame) {
  return wire::ArpView::parse(ethernet_of(frame).payload()).value();
}
inline bool is_arp(const Frame& frame) {
  return ethernet_of(frame).ether_type() == wire::EtherType::arp;
}
/// The IPv4 packet of a frame without link header.
inline wire::Ipv4View ip_of(Bytes frame) { return wire::Ipv4View::parse(frame).value(); }
inline wire::Icmpv4View icmp_of(const Frame& frame) {
  return wire::Icmpv4View::parse(ip_of(frame).payload()).value();
}
inline bool is_icmp(const Frame& frame) { return ip_of(frame).protocol() == wire::protocol::icmp; }
inline std::string udp_text(Bytes frame) {
  return text_of(wire::UdpView::parse(ip_of(frame).payload()).value().payload());
}

}  // namespace tidewire::testing
