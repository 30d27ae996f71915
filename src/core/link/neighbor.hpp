// The neighbor cache: link addresses of hosts on the same Ethernet, and packets that wait for them.
#pragma once

#include <cstdint>

#include "base/flat_map.hpp"
#include "base/list.hpp"
#include "base/slab.hpp"
#include "base/timer_wheel.hpp"
#include "core/context.hpp"
#include "core/link/packet_store.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire::link {

enum class NeighborState : std::uint8_t {
  incomplete,  ///< asked, no answer yet: packets queue
  reachable,   ///< confirmed lately
  stale,       ///< has an address that may be old; used as it is
  delay,       ///< stale and in use: waits for a hint of reachability before it asks
  probe,       ///< asks by unicast; used as it is
  failed,      ///< did not answer
};

struct NeighborLru {};

struct Neighbor : ListNode<NeighborLru> {
  InterfaceId interface = kNoInterface;
  IpAddress address;
  MacAddress mac;
  NeighborState state = NeighborState::incomplete;
  std::uint8_t probes = 0;
  bool flow_waits = false;  ///< a transport was told "unresolved"
  bool asked_once = false;
  bool silent = false;  ///< has not answered since it last failed
  Instant confirmed;    ///< last proof of reachability
  Instant last_used;
  Instant last_request;
  PacketQueue queue;
  TimerEntry timer;

  bool usable() const noexcept {
    return state != NeighborState::incomplete && state != NeighborState::failed;
  }
};

/// What the table wants done. Called with the entry in its new state.
class NeighborActions {
 public:
  /// Send an ARP request: broadcast, or to entry.mac when `unicast`.
  virtual void ask(const Neighbor& entry, bool unicast) noexcept = 0;
  /// The address is known: the queue goes out, parked flows may try again.
  virtual void resolved(Neighbor& entry) noexcept = 0;
  /// No answer: the queue is lost, flows are told.
  virtual void failed(Neighbor& entry) noexcept = 0;
  /// The entry is about to go; cached ids of it must not be used again.
  virtual void forgotten(Neighbor& entry) noexcept = 0;

 protected:
  ~NeighborActions() = default;
};

/// Ids are not 0 and valid until `forgotten`.
class NeighborTable {
 public:
  NeighborTable(Context& context, NeighborActions& actions, PacketStore& store) noexcept;
  ~NeighborTable();
  NeighborTable(const NeighborTable&) = delete;
  NeighborTable& operator=(const NeighborTable&) = delete;

  /// Finds or makes the entry of a next hop; 0: no memory or the table is full of entries in use.
  std::uint32_t intern(InterfaceId interface, const IpAddress& address) noexcept;
  Neighbor* get(std::uint32_t id) noexcept { return id == 0 ? nullptr : entries_.at_index(id - 1); }
  Neighbor* find(InterfaceId interface, const IpAddress& address) noexcept;
  const Neighbor* find(InterfaceId interface, const IpAddress& address) const noexcept {
    return const_cast<NeighborTable*>(this)->find(interface, address);
  }
  /// A packet is about to go there. True: entry.mac may be used. False: being resolved.
  bool use(Neighbor& entry) noexcept;
  /// Queues a packet on an entry that is not usable; the oldest make room. Takes the packet.
  void enqueue(Neighbor& entry, QueuedPacket& packet) noexcept;
  /// An ARP message showed this mapping. `may_create`: the message was for us.
  /// Returns false if it was neither known nor added.
  bool learn(InterfaceId interface, const IpAddress& address, const MacAddress& mac, bool is_reply,
             bool may_create) noexcept;
  /// Forward progress was seen through this entry.
  void confirm(Neighbor& entry) noexcept;
  /// Something suggests that the neighbor is dead: ask it now.
  void doubt(Neighbor& entry) noexcept;
  /// Forgets everything about an interface (link down, its addresses changed).
  void flush(InterfaceId interface) noexcept;

  Instant next_deadline() noexcept { return timers_.next_deadline(); }
  std::uint32_t on_timeout(std::uint32_t limit) noexcept;
  std::uint32_t size() const noexcept { return entries_.size(); }

 private:
  struct Key {
    IpAddress address;
    InterfaceId interface;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct KeyHash {
    std::uint64_t operator()(const RandomSeed& seed, const Key& key) const noexcept;
  };

  void ask(Neighbor& entry, bool unicast) noexcept;
  void on_timer(Neighbor& entry) noexcept;
  void become_reachable(Neighbor& entry) noexcept;
  void fail_entry(Neighbor& entry) noexcept;
  void forget(Neighbor& entry) noexcept;
  bool make_room() noexcept;

  Context& context_;
  NeighborActions& actions_;
  PacketStore& store_;
  Slab<Neighbor> entries_;
  FlatMap<Key, std::uint32_t, KeyHash> index_;
  List<Neighbor, NeighborLru> lru_;  ///< least recently used first
  TimerWheel timers_;
};

}  // namespace tidewire::link
