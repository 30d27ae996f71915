// ARP for IPv4 over Ethernet (RFC 826).
#pragma once

#include "wire/ethernet.hpp"

namespace tidewire::wire {

enum class ArpOperation : std::uint16_t { request = 1, reply = 2 };

inline constexpr std::size_t kArpLen = 28;

class ArpView {
 public:
  /// Accepts Ethernet and IPv4 only, requests and replies only; trailing padding is ignored.
  static Result<ArpView, ParseError> parse(Bytes packet) noexcept {
    if (packet.size() < 8) return fail(ParseError::truncated);
    const std::byte* at = packet.data();
    if (load_u16(at) != 1) return fail(ParseError::bad_hardware_type);
    if (load_u16(at + 2) != 0x0800) return fail(ParseError::bad_protocol_type);
    if (load_u8(at + 4) != 6 || load_u8(at + 5) != 4) return fail(ParseError::bad_address_length);
    const std::uint16_t operation = load_u16(at + 6);
    if (operation != 1 && operation != 2) return fail(ParseError::bad_operation);
    if (packet.size() < kArpLen) return fail(ParseError::truncated);
    return ArpView{at};
  }
  ArpOperation operation() const noexcept { return static_cast<ArpOperation>(load_u16(at_ + 6)); }
  MacAddress sender_mac() const noexcept { return load_mac(at_ + 8); }
  IpAddress sender_ip() const noexcept { return load_ipv4(at_ + 14); }
  MacAddress target_mac() const noexcept { return load_mac(at_ + 18); }
  IpAddress target_ip() const noexcept { return load_ipv4(at_ + 24); }

 private:
  explicit ArpView(const std::byte* at) noexcept : at_(at) {}
  const std::byte* at_;
};

/// Both IP addresses are IPv4.
struct ArpRepr {
  ArpOperation operation = ArpOperation::request;
  MacAddress sender_mac{};
  IpAddress sender_ip{};
  MacAddress target_mac{};
  IpAddress target_ip{};
  friend constexpr bool operator==(const ArpRepr&, const ArpRepr&) noexcept = default;
};

inline ArpRepr to_repr(const ArpView& view) noexcept {
  return {view.operation(), view.sender_mac(), view.sender_ip(), view.target_mac(),
          view.target_ip()};
}
constexpr std::size_t header_len(const ArpRepr&) noexcept { return kArpLen; }

inline void emit(const ArpRepr& repr, Writer& out) noexcept {
  const MutBytes packet = out.reserve(kArpLen);
  if (packet.empty()) return;
  std::byte* at = packet.data();
  store_u64(at, 0x0001'0800'0604'0000ULL | static_cast<std::uint16_t>(repr.operation));
  store_mac(at + 8, repr.sender_mac);
  store_ipv4(at + 14, repr.sender_ip);
  store_mac(at + 18, repr.target_mac);
  store_ipv4(at + 24, repr.target_ip);
}

}  // namespace tidewire::wire
