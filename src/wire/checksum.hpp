// The Internet checksum (RFC 1071), its pseudo headers, its incremental update (RFC 1624), and the
// fused copy. All results are in host order: store them with a big-endian store.
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.hpp"
#include "wire/address.hpp"
#include "wire/checksum_kernels.hpp"
#include "wire/load.hpp"

namespace tidewire::wire {

/// Accumulates a checksum over any number of spans; a span of odd length makes the next one start
/// at an odd offset, as if they were one contiguous message.
class Checksum {
 public:
  constexpr Checksum() noexcept = default;

  void add(Bytes bytes) noexcept {
    if (bytes.empty()) return;  // of the regions of a frame most are
    accumulate(kernel::sum(bytes.data(), bytes.size()), bytes.size());
  }
  /// Copies source to the front of target while adding it. Copies nothing if target is too short.
  void add_and_copy(MutBytes target, Bytes source) noexcept {
    if (target.size() < source.size()) return;
    accumulate(kernel::copy_sum(target.data(), source.data(), source.size()), source.size());
  }
  /// Adds one 16-bit word in host order; only between spans of even length in total.
  constexpr void add_u16(std::uint16_t word) noexcept { sum_ += swap_to_network(word); }
  constexpr void add_u32(std::uint32_t word) noexcept {
    add_u16(static_cast<std::uint16_t>(word >> 16));
    add_u16(static_cast<std::uint16_t>(word));
  }
  /// TCP and UDP pseudo header: RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6. `length` covers
  /// transport header and payload. Both addresses must be of one family.
  void add_pseudo_header(const IpAddress& source, const IpAddress& target, std::uint8_t protocol,
                         std::uint32_t length) noexcept {
    add_address(source);
    add_address(target);
    add_u16(protocol);
    add_u32(length);
  }
  void add_pseudo_header_v4(std::uint32_t source, std::uint32_t target, std::uint8_t protocol,
                            std::uint32_t length) noexcept {
    sum_ += std::uint64_t{swap_to_network(source)} + swap_to_network(target);
    add_u16(protocol);
    add_u32(length);
  }

  /// The folded sum, not complemented: what a frame with checksum_pending carries in its field.
  constexpr std::uint16_t fold() const noexcept { return swap_to_network(kernel::fold(sum_)); }
  /// The value of the checksum field.
  constexpr std::uint16_t finish() const noexcept {
    return static_cast<std::uint16_t>(~fold() & 0xffff);
  }
  /// As finish(), but 0 is sent as 0xffff, because 0 means "no checksum" (RFC 768).
  constexpr std::uint16_t finish_udp() const noexcept {
    const std::uint16_t value = finish();
    return value == 0 ? std::uint16_t{0xffff} : value;
  }
  /// True if the message that was added, its checksum field included, is intact.
  constexpr bool verifies() const noexcept { return fold() == 0xffff; }

 private:
  void add_address(const IpAddress& address) noexcept {
    const auto* octets = reinterpret_cast<const std::byte*>(address.octets().data());
    if (address.is_v4()) {
      sum_ += load_native<std::uint32_t>(octets);
    } else {
      for (std::size_t i = 0; i < 16; i += 4) sum_ += load_native<std::uint32_t>(octets + i);
    }
  }
  void accumulate(std::uint64_t part, std::size_t size) noexcept {
    sum_ += odd_ ? std::byteswap(kernel::fold(part)) : part;
    odd_ = odd_ != ((size & 1) != 0);
  }

  std::uint64_t sum_ = 0;  ///< of words in native byte order (RFC 1071 §2(B))
  bool odd_ = false;
};

/// The checksum field value over one span.
inline std::uint16_t internet_checksum(Bytes bytes) noexcept {
  Checksum sum;
  sum.add(bytes);
  return sum.finish();
}

/// The folded, not complemented pseudo-header sum (what TxFrame::checksum_pending asks for).
inline std::uint16_t pseudo_header_sum(const IpAddress& source, const IpAddress& target,
                                       std::uint8_t protocol, std::uint32_t length) noexcept {
  Checksum sum;
  sum.add_pseudo_header(source, target, protocol, length);
  return sum.fold();
}

/// Completes a pending checksum: the sum over the transport header, whose checksum field holds the
/// pseudo-header sum, and the payload. Returns the final value of the field; for UDP a 0 becomes
/// 0xffff.
inline std::uint16_t complete_pending_checksum(Bytes transport_header,
                                               std::span<const Bytes> payload,
                                               bool is_udp) noexcept {
  Checksum sum;
  sum.add(transport_header);
  for (const Bytes region : payload) sum.add(region);
  return is_udp ? sum.finish_udp() : sum.finish();
}

/// Copies source to the front of target and returns the folded, not complemented sum of it, as at
/// an even offset. Copies nothing and returns 0 if target is too short.
inline std::uint16_t copy_and_checksum(MutBytes target, Bytes source) noexcept {
  Checksum sum;
  sum.add_and_copy(target, source);
  return sum.fold();
}

//= RFC 1624 §3
/// The checksum field after one 16-bit word it covers changed: HC' = ~(~HC + ~m + m').
constexpr std::uint16_t update_checksum(std::uint16_t checksum, std::uint16_t before,
                                        std::uint16_t after) noexcept {
  std::uint32_t sum = (~checksum & 0xffffU) + (~before & 0xffffU) + after;
  sum = (sum & 0xffffU) + (sum >> 16);
  sum = (sum & 0xffffU) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffffU);
}
constexpr std::uint16_t update_checksum_u32(std::uint16_t checksum, std::uint32_t before,
                                            std::uint32_t after) noexcept {
  checksum = update_checksum(checksum, static_cast<std::uint16_t>(before >> 16),
                             static_cast<std::uint16_t>(after >> 16));
  return update_checksum(checksum, static_cast<std::uint16_t>(before),
                         static_cast<std::uint16_t>(after));
}

}  // namespace tidewire::wire
