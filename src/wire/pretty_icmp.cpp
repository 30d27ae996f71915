// ICMP, ICMPv6 and IGMP for pretty().
#include "wire/icmpv4.hpp"
#include "wire/icmpv6.hpp"
#include "wire/igmp.hpp"
#include "wire/pretty_detail.hpp"
#include "wire/quoted.hpp"

namespace tidewire::wire::detail {
namespace {

/// "10.0.2.2 udp port 53", or as much of it as is quoted.
void put_quoted(std::string& out, const Result<QuotedPacket, ParseError>& quoted) {
  if (!quoted) {
    put(out, "(quoted packet: ", quoted.error(), ")");
    return;
  }
  put(out, quoted->destination, " ");
  put_protocol(out, quoted->protocol);
  const bool has_ports = quoted->protocol == protocol::tcp || quoted->protocol == protocol::udp;
  if (has_ports && quoted->fragment_offset == 0) put(out, " port ", quoted->destination_port);
}

constexpr std::string_view unreachable_what(std::uint8_t code) noexcept {
  switch (code) {
    case icmpv4_unreachable::net:
      return "net";
    case icmpv4_unreachable::host:
      return "host";
    case icmpv4_unreachable::protocol:
      return "protocol";
    case icmpv4_unreachable::port:
      return "port";
    case icmpv4_unreachable::source_route_failed:
      return "source route failed";
    case icmpv4_unreachable::net_prohibited:
      return "net prohibited";
    case icmpv4_unreachable::host_prohibited:
      return "host prohibited";
    case icmpv4_unreachable::admin_prohibited:
      return "admin prohibited";
    default:
      return "";
  }
}

void put_unreachable_v4(std::string& out, const Icmpv4Header& header, Bytes quoted) {
  put_quoted(out, parse_quoted_v4(quoted));
  if (header.is_fragmentation_needed()) {
    put(out, " unreachable - need to frag (mtu ", header.mtu(), ")");
    return;
  }
  const std::string_view what = unreachable_what(header.code);
  if (what.empty()) {
    put(out, " unreachable - code ", header.code);
  } else {
    put(out, " unreachable - ", what);
  }
}

void put_id_and_sequence(std::string& out, std::string_view name, std::uint16_t id,
                         std::uint16_t sequence) {
  put(out, name, ", id ", id, ", seq ", sequence);
}

void put_icmpv4_body(std::string& out, const Icmpv4View& view) {
  const Icmpv4Header header = view.header();
  switch (header.type) {
    case Icmpv4Type::echo_request:
      return put_id_and_sequence(out, "echo request", header.id(), header.sequence());
    case Icmpv4Type::echo_reply:
      return put_id_and_sequence(out, "echo reply", header.id(), header.sequence());
    case Icmpv4Type::timestamp_request:
      return put_id_and_sequence(out, "time stamp query", header.id(), header.sequence());
    case Icmpv4Type::timestamp_reply:
      return put_id_and_sequence(out, "time stamp reply", header.id(), header.sequence());
    case Icmpv4Type::destination_unreachable:
      return put_unreachable_v4(out, header, view.payload());
    case Icmpv4Type::time_exceeded:
      out +=
          header.code == 0 ? "time exceeded in-transit for " : "ip reassembly time exceeded for ";
      return put_quoted(out, parse_quoted_v4(view.payload()));
    case Icmpv4Type::parameter_problem:
      put(out, "parameter problem - octet ", header.pointer(), " for ");
      return put_quoted(out, parse_quoted_v4(view.payload()));
    case Icmpv4Type::redirect:
      out += "redirect ";
      put_quoted(out, parse_quoted_v4(view.payload()));
      return put(out, " to ", header.gateway());
    case Icmpv4Type::source_quench:
      out += "source quench";
      return;
  }
  put(out, "type-", static_cast<std::uint8_t>(header.type), " code-", header.code);
}

constexpr std::string_view name_of(Icmpv6Type type) noexcept {
  switch (type) {
    case Icmpv6Type::destination_unreachable:
      return "destination unreachable";
    case Icmpv6Type::packet_too_big:
      return "packet too big";
    case Icmpv6Type::time_exceeded:
      return "time exceeded";
    case Icmpv6Type::parameter_problem:
      return "parameter problem";
    case Icmpv6Type::echo_request:
      return "echo request";
    case Icmpv6Type::echo_reply:
      return "echo reply";
    case Icmpv6Type::router_solicitation:
      return "router solicitation";
    case Icmpv6Type::router_advertisement:
      return "router advertisement";
    case Icmpv6Type::neighbor_solicitation:
      return "neighbor solicitation";
    case Icmpv6Type::neighbor_advertisement:
      return "neighbor advertisement";
    case Icmpv6Type::redirect:
      return "redirect";
  }
  return "";
}

void put_icmpv6_body(std::string& out, const Icmpv6View& view) {
  const Icmpv6Header header = view.header();
  const std::string_view name = name_of(header.type);
  if (name.empty()) {
    put(out, "type-", static_cast<std::uint8_t>(header.type), " code-", header.code);
    return;
  }
  out += name;
  switch (header.type) {
    case Icmpv6Type::echo_request:
    case Icmpv6Type::echo_reply:
      put(out, ", id ", header.id(), ", seq ", header.sequence());
      return;
    case Icmpv6Type::packet_too_big:
      put(out, ", mtu ", header.mtu());
      break;
    case Icmpv6Type::parameter_problem:
      put(out, " code ", header.code, " - octet ", header.pointer());
      break;
    case Icmpv6Type::destination_unreachable:
    case Icmpv6Type::time_exceeded:
      put(out, " code ", header.code);
      break;
    default:
      return;
  }
  out += " for ";
  put_quoted(out, parse_quoted_v6(view.payload()));
}

void put_igmp_body(std::string& out, const IgmpView& view) {
  switch (view.type()) {
    case IgmpType::query:
      put(out, "igmp query v", view.version());
      if (!view.group().is_unspecified()) put(out, " for ", view.group());
      return;
    case IgmpType::v1_report:
    case IgmpType::v2_report:
      return put(out, "igmp v", view.version(), " report ", view.group());
    case IgmpType::v2_leave:
      return put(out, "igmp leave ", view.group());
    case IgmpType::v3_report:
      break;
  }
  put(out, "igmp v3 report, ", view.record_count(), " group record(s)");
  Bytes records = view.records();
  for (std::size_t left = view.record_count(); left > 0; --left) {
    const auto record = next_record(records);
    if (!record) return;
    put(out, " [", record->group, " type ", static_cast<std::uint8_t>(record->type), ", ",
        record->sources.size() / 4, " source(s)]");
  }
}

}  // namespace

void put_icmpv4(std::string& out, const IpContext& ip) {
  put_flow(out, ip);
  out += "ICMP ";
  const auto view = Icmpv4View::parse(ip.payload);
  if (view) {
    put_icmpv4_body(out, *view);
    const bool whole = !ip.first_fragment && ip.payload.size() == ip.payload_len;
    if (whole && !view->checksum_ok()) out += ", bad cksum";
  } else {
    put(out, view.error());
  }
  put(out, ", length ", ip.payload_len);
}

void put_icmpv6(std::string& out, const IpContext& ip) {
  put_flow(out, ip);
  out += "ICMP6, ";
  const auto view = Icmpv6View::parse(ip.payload);
  if (view) {
    put_icmpv6_body(out, *view);
    const bool whole = !ip.first_fragment && ip.payload.size() == ip.payload_len;
    if (whole && !view->checksum_ok(ip.source, ip.destination)) out += ", bad cksum";
  } else {
    put(out, view.error());
  }
  put(out, ", length ", ip.payload_len);
}

void put_igmp(std::string& out, const IpContext& ip) {
  put_flow(out, ip);
  const auto view = IgmpView::parse(ip.payload);
  if (view) {
    put_igmp_body(out, *view);
  } else {
    put(out, "igmp, ", view.error());
  }
  put(out, ", length ", ip.payload_len);
}

}  // namespace tidewire::wire::detail
