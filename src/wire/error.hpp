// Why a piece of wire input was refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tidewire::wire {

/// Closed set of reasons for which parsing fails. Each is the index of a drop counter.
enum class ParseError : std::uint8_t {
  truncated,             ///< fewer bytes than the fixed header needs
  bad_version,           ///< IP version field does not match
  bad_header_length,     ///< header length field below the minimum or past the end
  bad_total_length,      ///< length field below the header or beyond what was received
  bad_checksum,          ///< Internet checksum does not verify
  missing_checksum,      ///< UDP over IPv6 with checksum 0 (RFC 8200 §8.1)
  bad_option_length,     ///< option length 0 or 1, or past the end of the options
  bad_extension_header,  ///< IPv6 extension header past the end, misplaced or too many
  bad_hardware_type,     ///< ARP hardware type is not Ethernet
  bad_protocol_type,     ///< ARP protocol type is not IPv4, or EtherType is a length
  bad_address_length,    ///< ARP address lengths are not 6 and 4
  bad_operation,         ///< ARP operation or IGMP type is none of the known ones
  bad_count,             ///< a record or source count reaches past the end
};
inline constexpr std::size_t kParseErrorCount = 13;

/// A short lower-case phrase, for counters and printing.
constexpr std::string_view to_string(ParseError error) noexcept {
  switch (error) {
    case ParseError::truncated:
      return "truncated";
    case ParseError::bad_version:
      return "bad version";
    case ParseError::bad_header_length:
      return "bad header length";
    case ParseError::bad_total_length:
      return "bad total length";
    case ParseError::bad_checksum:
      return "bad checksum";
    case ParseError::missing_checksum:
      return "missing checksum";
    case ParseError::bad_option_length:
      return "bad option length";
    case ParseError::bad_extension_header:
      return "bad extension header";
    case ParseError::bad_hardware_type:
      return "bad hardware type";
    case ParseError::bad_protocol_type:
      return "bad protocol type";
    case ParseError::bad_address_length:
      return "bad address length";
    case ParseError::bad_operation:
      return "bad operation";
    case ParseError::bad_count:
      return "bad count";
  }
  return "unknown";
}

}  // namespace tidewire::wire
