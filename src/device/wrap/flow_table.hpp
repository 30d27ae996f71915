// Which flow a packet belongs to, and its ordinal in it: what its fate on a link depends on.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "base/bytes.hpp"
#include "device/net_spec.hpp"
#include "device/wrap/frame_store.hpp"
#include "wire/address.hpp"
#include "wire/ecn.hpp"
#include "wire/frame.hpp"

namespace tidewire::device {

/// Addresses and ports of a packet as far as they can be read; ICMP has its identifier in the
/// source port; everything that is not IP is one flow for each EtherType.
struct PacketKey {
  IpAddress source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint16_t kind = 0;          ///< IP protocol, or 256 and more: EtherType
  bool opens = false;              ///< a TCP SYN without ACK
  bool only_acks = false;          ///< a TCP segment without text, SYN, FIN and RST
  std::uint32_t opens_seq = 0;     ///< its sequence number
  std::size_t network_offset = 0;  ///< of the IP header in the frame; 0 as well if not IP
  bool is_ip = false;
  wire::Ecn ecn = wire::Ecn::not_ect;
};

PacketKey parse_packet_key(Bytes frame, Medium medium) noexcept;

/// One flow, both directions. A flow belongs to the side that sent its first packet; its identity
/// is where that went and how many flows went there before, so that it does not depend on the
/// ephemeral port and is the same in the next run.
struct Flow {
  std::uint64_t identity = 0;  ///< hash of the destination and `number`
  std::uint32_t number = 0;    ///< from 1, counted for each destination
  Direction first = Direction::up;
  std::uint32_t opened_seq = 0;
  bool opened = false;
  std::array<std::uint64_t, 2> packets{};     ///< for each direction
  std::array<std::uint32_t, 2> burst_left{};  ///< packets still to be lost in a row
};

/// The flows a link has seen, shared by its two directions. Bounded: the oldest are forgotten.
class FlowTable {
 public:
  explicit FlowTable(std::size_t max_flows = 262'144) noexcept : max_flows_(max_flows) {}

  /// Counts one packet (its ordinal, from 1, is `packets[direction]` afterwards). The reference is
  /// valid until the next call.
  Flow& count(const PacketKey& packet, Direction direction);

 private:
  struct Key {
    IpAddress near, far;  ///< the up side's address, the down side's
    std::uint16_t near_port = 0, far_port = 0, kind = 0;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };

  using Map = std::unordered_map<Key, Flow, KeyHash>;

  Flow& find(const Key& key, const PacketKey& packet, Direction direction);
  void open(Flow& flow, const PacketKey& packet, Direction direction);
  void forget_oldest();

  std::size_t max_flows_;
  Map flows_;
  Map::value_type* last_ = nullptr;  ///< found last: packets of a flow follow each other
  RingQueue<Key> order_;
  std::unordered_map<std::uint64_t, std::uint32_t> numbers_;  ///< by hash of the destination
};

}  // namespace tidewire::device
