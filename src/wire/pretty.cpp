#include "wire/pretty.hpp"

#include "wire/arp.hpp"
#include "wire/ethernet.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/pretty_detail.hpp"

namespace tidewire::wire {

namespace detail {

void put_flow(std::string& out, const IpContext& ip, std::uint16_t source_port,
              std::uint16_t destination_port) {
  put(out, ip.source, ".", source_port, " > ", ip.destination, ".", destination_port, ": ");
}

void put_flow(std::string& out, const IpContext& ip) {
  put(out, ip.source, " > ", ip.destination, ": ");
}

void put_protocol(std::string& out, std::uint8_t protocol) {
  switch (protocol) {
    case protocol::icmp:
      out += "icmp";
      return;
    case protocol::igmp:
      out += "igmp";
      return;
    case protocol::tcp:
      out += "tcp";
      return;
    case protocol::udp:
      out += "udp";
      return;
    case protocol::icmpv6:
      out += "icmp6";
      return;
    case protocol::ipv6_no_next:
      out += "no next header";
      return;
    default:
      put(out, "ip-proto-", protocol);
  }
}

}  // namespace detail

namespace {

using detail::IpContext;
using detail::put;

void put_transport(std::string& out, std::uint8_t protocol, const IpContext& ip) {
  switch (protocol) {
    case protocol::tcp:
      detail::put_tcp(out, ip);
      return;
    case protocol::udp:
      detail::put_udp(out, ip);
      return;
    case protocol::icmp:
      detail::put_icmpv4(out, ip);
      return;
    case protocol::icmpv6:
      detail::put_icmpv6(out, ip);
      return;
    case protocol::igmp:
      detail::put_igmp(out, ip);
      return;
    default:
      detail::put_flow(out, ip);
      detail::put_protocol(out, protocol);
      put(out, ", length ", ip.payload_len);
  }
}

void put_fragment(std::string& out, std::uint8_t protocol, const IpContext& ip, std::uint32_t id,
                  std::uint16_t offset, bool more) {
  if (offset == 0) {
    put_transport(out, protocol, ip);
    put(out, " (frag id ", id, ", offset 0, more)");
    return;
  }
  detail::put_flow(out, ip);
  detail::put_protocol(out, protocol);
  put(out, " (frag id ", id, ", offset ", offset, more ? ", more" : "", "), length ",
      ip.payload_len);
}

void put_missing(std::string& out, std::size_t expected, std::size_t present) {
  if (expected > present) put(out, "truncated-ip - ", expected - present, " bytes missing! ");
}

void put_ipv4(std::string& out, Bytes packet) {
  const auto view = Ipv4View::parse(packet, SIZE_MAX);
  out += "IP ";
  if (!view) {
    put(out, view.error(), ", length ", packet.size());
    return;
  }
  if (!view->checksum_ok()) out += "bad header cksum! ";
  if (!scan_ipv4_options(view->options())) out += "bad options! ";
  put_missing(out, view->total_len(), packet.size());
  const IpContext ip{view->source(), view->destination(), view->payload_len(), view->payload(),
                     view->more_fragments()};
  if (view->is_fragment()) {
    put_fragment(out, view->protocol(), ip, view->id(), view->fragment_offset(),
                 view->more_fragments());
  } else {
    put_transport(out, view->protocol(), ip);
  }
}

void put_ipv6(std::string& out, Bytes packet) {
  const auto view = Ipv6View::parse(packet, SIZE_MAX);
  out += "IP6 ";
  if (!view) {
    put(out, view.error(), ", length ", packet.size());
    return;
  }
  const std::size_t total = kIpv6HeaderLen + view->payload_len();
  put_missing(out, total, packet.size());
  IpContext ip{view->source(), view->destination(), view->payload_len(), view->payload(), false};
  const auto upper = find_upper_layer(*view);
  if (!upper) {
    detail::put_flow(out, ip);
    put(out, upper.error().error, ", length ", ip.payload_len);
    return;
  }
  ip.payload = view->packet().subspan(upper->offset);
  ip.payload_len = total - upper->offset;
  ip.first_fragment = upper->more_fragments;
  if (upper->more_fragments || upper->fragment_offset != 0) {
    put_fragment(out, upper->protocol, ip, upper->fragment_id, upper->fragment_offset,
                 upper->more_fragments);
  } else {
    put_transport(out, upper->protocol, ip);
  }
}

void put_arp(std::string& out, Bytes packet) {
  const auto view = ArpView::parse(packet);
  out += "ARP, ";
  if (!view) {
    put(out, view.error());
  } else if (view->operation() == ArpOperation::reply) {
    put(out, "Reply ", view->sender_ip(), " is-at ", view->sender_mac());
  } else if (view->sender_ip() == view->target_ip()) {
    put(out, "Announcement ", view->sender_ip());
  } else {
    put(out, "Request who-has ", view->target_ip());
    if (!view->target_mac().is_zero()) put(out, " (", view->target_mac(), ")");
    put(out, " tell ", view->sender_ip());
  }
  put(out, ", length ", packet.size());
}

void put_ethernet(std::string& out, Bytes frame) {
  const auto view = EthernetView::parse(frame);
  if (!view) {
    put(out, "ethernet ", view.error(), ", length ", frame.size());
    return;
  }
  switch (view->ether_type()) {
    case EtherType::ipv4:
      put_ipv4(out, view->payload());
      return;
    case EtherType::ipv6:
      put_ipv6(out, view->payload());
      return;
    case EtherType::arp:
      put_arp(out, view->payload());
      return;
    case EtherType::vlan:
      break;
  }
  const auto type = static_cast<std::uint16_t>(view->ether_type());
  put(out, view->source(), " > ", view->destination());
  if (type < 0x0600) {
    put(out, ", 802.3");
  } else {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += ", ethertype 0x";
    for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[type >> shift & 15];
  }
  put(out, ", length ", frame.size());
}

}  // namespace

std::string pretty(Medium medium, Bytes frame) {
  std::string out;
  if (medium == Medium::ethernet) {
    put_ethernet(out, frame);
  } else if (frame.empty()) {
    out = "IP truncated, length 0";
  } else if (load_u8(frame.data()) >> 4 == 6) {
    put_ipv6(out, frame);
  } else {
    put_ipv4(out, frame);
  }
  return out;
}

}  // namespace tidewire::wire
