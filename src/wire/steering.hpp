// Which shard of a host a received frame is for.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"
#include "wire/ethernet.hpp"
#include "wire/frame.hpp"
#include "wire/ipv4.hpp"
#include "wire/load.hpp"
#include "wire/shard_map.hpp"

namespace tidewire::wire {

/// Where one frame goes.
struct Steering {
  enum class To : std::uint8_t {
    here,       ///< stays where it arrived: malformed, or any shard will do
    owner,      ///< a flow's packet, or an ICMP error about one
    everybody,  ///< news for all: ARP and neighbour advertisements, groups, broadcasts
    collector,  ///< a fragment: the one who sees all of its packet finds the owner
  };
  To to = To::here;
  bool first_fragment = false;  ///< with offset 0: `owner` is known
  bool arp_request = false;     ///< one shard answers, the others learn the sender's address
  std::uint32_t owner = 0;      ///< below the map's count
  std::uint32_t collector = 0;  ///< of a fragment; below the map's count
  std::uint64_t packet = 0;     ///< the same for all fragments of one packet
  friend constexpr bool operator==(const Steering&, const Steering&) noexcept = default;
};

/// `head` begins with the frame and holds its headers. Whatever it holds, the answer names shards
/// that exist.
Steering steer(const ShardMap& map, Medium medium, Bytes head) noexcept;

/// Steers one frame after the other: those of a flow come together, and who owned the last one is
/// known.
class Steerer {
 public:
  Steerer(const ShardMap& map, Medium medium) noexcept : map_(map), medium_(medium) {}
  Steering operator()(Bytes head) noexcept {
    const Flow flow = flow_of(head);
    if (flow.known && flow == last_) return owner_;
    const Steering answer = steer(map_, medium_, head);
    if (flow.known && answer.to == Steering::To::owner) {
      last_ = flow;
      owner_ = answer;
    }
    return answer;
  }

 private:
  /// The tuple of a TCP or UDP packet in IPv4 without options or fragments, as it stands there.
  struct Flow {
    bool known = false;
    std::uint8_t protocol = 0;
    std::uint32_t ports = 0;
    std::uint64_t addresses = 0;
    friend bool operator==(const Flow&, const Flow&) noexcept = default;
  };
  Flow flow_of(Bytes head) const noexcept {
    const std::size_t start = medium_ == Medium::ip ? 0 : kEthernetHeaderLen;
    if (head.size() < start + kIpv4MinHeaderLen + 4) return {};
    if (start != 0) {
      const bool group = (load_u8(head.data()) & 1) != 0;
      if (group || load_u16(head.data() + 12) != static_cast<std::uint16_t>(EtherType::ipv4)) {
        return {};
      }
    }
    const std::byte* ip = head.data() + start;
    if (load_u8(ip) != 0x45 || (load_u16(ip + 6) & 0x3fff) != 0) return {};
    const std::uint8_t protocol = load_u8(ip + 9);
    const bool group = load_u8(ip + 16) >= 0xe0;
    if ((protocol != protocol::tcp && protocol != protocol::udp) || group) return {};
    return {true, protocol, load_native<std::uint32_t>(ip + kIpv4MinHeaderLen),
            load_native<std::uint64_t>(ip + 12)};
  }

  ShardMap map_;
  Medium medium_;
  Flow last_;
  Steering owner_;
};

/// Byte of an Ethernet frame's ARP packet that tells requests (1) from replies (2).
inline constexpr std::size_t kArpOperationByte = 14 + 7;

}  // namespace tidewire::wire
