// Ethernet II frames (RFC 894).
#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/address.hpp"
#include "wire/error.hpp"
#include "wire/load.hpp"

namespace tidewire::wire {

enum class EtherType : std::uint16_t { ipv4 = 0x0800, arp = 0x0806, vlan = 0x8100, ipv6 = 0x86dd };

inline constexpr std::size_t kEthernetHeaderLen = 14;

inline MacAddress load_mac(const std::byte* at) noexcept {
  MacAddress mac;
  std::memcpy(mac.octets.data(), at, mac.octets.size());
  return mac;
}
inline void store_mac(std::byte* at, const MacAddress& mac) noexcept {
  std::memcpy(at, mac.octets.data(), mac.octets.size());
}
inline IpAddress load_ipv4(const std::byte* at) noexcept { return IpAddress::v4(load_u32(at)); }
inline void store_ipv4(std::byte* at, const IpAddress& address) noexcept {
  std::memcpy(at, address.octets().data(), 4);
}

class EthernetView {
 public:
  static Result<EthernetView, ParseError> parse(Bytes frame) noexcept {
    if (frame.size() < kEthernetHeaderLen) return fail(ParseError::truncated);
    return EthernetView{frame};
  }
  MacAddress destination() const noexcept { return load_mac(frame_.data()); }
  MacAddress source() const noexcept { return load_mac(frame_.data() + 6); }
  /// May be none of the named values; below 0x0600 it is an IEEE 802.3 length.
  EtherType ether_type() const noexcept {
    return static_cast<EtherType>(load_u16(frame_.data() + 12));
  }
  Bytes payload() const noexcept { return frame_.subspan(kEthernetHeaderLen); }

 private:
  explicit EthernetView(Bytes frame) noexcept : frame_(frame) {}
  Bytes frame_;
};

struct EthernetRepr {
  MacAddress destination{};
  MacAddress source{};
  EtherType ether_type = EtherType::ipv4;
  friend constexpr bool operator==(const EthernetRepr&, const EthernetRepr&) noexcept = default;
};

inline EthernetRepr to_repr(const EthernetView& view) noexcept {
  return {view.destination(), view.source(), view.ether_type()};
}
constexpr std::size_t header_len(const EthernetRepr&) noexcept { return kEthernetHeaderLen; }

inline void emit(const EthernetRepr& repr, Writer& out) noexcept {
  const MutBytes header = out.reserve(kEthernetHeaderLen);
  if (header.empty()) return;
  store_mac(header.data(), repr.destination);
  store_mac(header.data() + 6, repr.source);
  store_u16(header.data() + 12, static_cast<std::uint16_t>(repr.ether_type));
}

}  // namespace tidewire::wire
