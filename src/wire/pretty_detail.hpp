// Shared by the parts of pretty(); not for others.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/seq.hpp"
#include "wire/address.hpp"
#include "wire/error.hpp"

namespace tidewire::wire::detail {

inline void put_one(std::string& out, std::string_view text) { out += text; }
inline void put_one(std::string& out, std::unsigned_integral auto number) {
  out += std::to_string(number);
}
inline void put_one(std::string& out, Seq seq) { out += std::to_string(seq.value()); }
inline void put_one(std::string& out, const IpAddress& address) { out += to_string(address); }
inline void put_one(std::string& out, const MacAddress& mac) { out += to_string(mac); }
inline void put_one(std::string& out, ParseError error) { out += to_string(error); }

/// Appends everything in order, numbers in decimal.
void put(std::string& out, const auto&... parts) { (put_one(out, parts), ...); }

/// What the IP layer knows about the transport data it hands on.
struct IpContext {
  IpAddress source;
  IpAddress destination;
  std::size_t payload_len = 0;  ///< as the IP header says; more than `payload` if truncated
  Bytes payload;
  bool first_fragment = false;  ///< the transport message continues in other fragments
};

/// "source.port > destination.port: "
void put_flow(std::string& out, const IpContext& ip, std::uint16_t source_port,
              std::uint16_t destination_port);
/// "source > destination: "
void put_flow(std::string& out, const IpContext& ip);
/// "tcp", "udp", "icmp" ... or "ip-proto-N".
void put_protocol(std::string& out, std::uint8_t protocol);

void put_tcp(std::string& out, const IpContext& ip);
void put_udp(std::string& out, const IpContext& ip);
void put_icmpv4(std::string& out, const IpContext& ip);
void put_icmpv6(std::string& out, const IpContext& ip);
void put_igmp(std::string& out, const IpContext& ip);

}  // namespace tidewire::wire::detail
