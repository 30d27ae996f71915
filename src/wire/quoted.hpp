// The packet that an ICMP error quotes: whose flow is it (RFC 1122 §3.2.2, RFC 4443 §2.4, RFC
// 5927).
#pragma once

#include "base/seq.hpp"
#include "wire/ipv6.hpp"

namespace tidewire::wire {

/// The start of a packet that this host is said to have sent. Nothing in it can be trusted; the
/// sequence number is there to be checked against what is in flight.
struct QuotedPacket {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint16_t fragment_offset = 0;  ///< bytes; if not 0 there is no transport header
  std::uint16_t source_port = 0;      ///< TCP and UDP
  std::uint16_t destination_port = 0;
  Seq seq;                      ///< TCP
  std::uint16_t icmp_id = 0;    ///< echo messages
  std::uint16_t total_len = 0;  ///< as the quoted IP header says
  Bytes transport;              ///< what is quoted of the transport header and payload
};

/// Needs the IP header whole, and 8 bytes of a TCP, UDP or ICMP header unless it is a later
/// fragment.
Result<QuotedPacket, ParseError> parse_quoted_v4(Bytes quoted) noexcept;
Result<QuotedPacket, ParseError> parse_quoted_v6(Bytes quoted) noexcept;

}  // namespace tidewire::wire
