// The four-tuple of a connection, and its hash.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "base/random.hpp"
#include "wire/address.hpp"
#include "wire/load.hpp"

namespace tidewire::tcp {

/// Local and remote address and port. IPv4 addresses are kept in their IPv4-mapped form, so that
/// one comparison of bytes does for both families.
struct Tuple {
  std::array<std::uint8_t, 16> local{};
  std::array<std::uint8_t, 16> remote{};
  std::uint16_t local_port = 0;
  std::uint16_t remote_port = 0;

  static constexpr Tuple of(const IpAddress& local, std::uint16_t local_port,
                            const IpAddress& remote, std::uint16_t remote_port) noexcept {
    return {local.mapped().octets(), remote.mapped().octets(), local_port, remote_port};
  }
  IpAddress local_address() const noexcept { return IpAddress::v6(local).unmapped(); }
  IpAddress remote_address() const noexcept { return IpAddress::v6(remote).unmapped(); }
  /// As numbers in host order, of an IPv4 tuple.
  std::uint32_t local_v4() const noexcept { return wire::load_u32(last_word(local)); }
  std::uint32_t remote_v4() const noexcept { return wire::load_u32(last_word(remote)); }
  bool is_v4() const noexcept { return IpAddress::v6(remote).is_v4_mapped(); }

  /// *this == of(...), without making that.
  bool is(const IpAddress& local_in, std::uint16_t local_port_in, const IpAddress& remote_in,
          std::uint16_t remote_port_in) const noexcept {
    return local_port == local_port_in && remote_port == remote_port_in && is(remote, remote_in) &&
           is(local, local_in);
  }

  friend bool operator==(const Tuple& a, const Tuple& b) noexcept {
    return std::memcmp(&a, &b, sizeof(Tuple)) == 0;
  }

 private:
  static constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0,    0,
                                                              0, 0, 0, 0, 0xff, 0xff};
  static bool is(const std::array<std::uint8_t, 16>& octets, const IpAddress& address) noexcept {
    if (address.is_v6()) return octets == address.octets();
    return std::memcmp(octets.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0 &&
           std::memcmp(octets.data() + 12, address.octets().data(), 4) == 0;
  }
  static const std::byte* last_word(const std::array<std::uint8_t, 16>& octets) noexcept {
    return reinterpret_cast<const std::byte*>(octets.data()) + 12;
  }
};
static_assert(sizeof(Tuple) == 36);

/// Keyed hash of a tuple: flow table, ISN (RFC 6528), timestamp offset (RFC 7323 §7).
inline std::uint64_t hash(const RandomSeed& key, const Tuple& tuple) noexcept {
  std::array<std::uint64_t, 4> words{};
  std::memcpy(words.data(), tuple.local.data(), 16);
  std::memcpy(words.data() + 2, tuple.remote.data(), 16);
  const std::uint64_t ports = std::uint64_t{tuple.local_port} << 16 | tuple.remote_port;
  if (words[0] == 0 && words[2] == 0) return siphash13(key, words[1], words[3], ports, 4);
  return siphash13(key, siphash13(key, words[0], words[1], words[2], words[3]), ports, 6);
}

/// hash() with a key of its own, which remembers the last answer: a connection that is made or ends
/// asks for the same several times in a row.
class TupleHash {
 public:
  explicit TupleHash(const RandomSeed& key) noexcept : key_(key), value_(hash(key, last_)) {}
  std::uint64_t operator()(const Tuple& tuple) noexcept {
    if (tuple != last_) {
      last_ = tuple;
      value_ = hash(key_, tuple);
    }
    return value_;
  }

 private:
  RandomSeed key_;
  Tuple last_;
  std::uint64_t value_;
};

}  // namespace tidewire::tcp
