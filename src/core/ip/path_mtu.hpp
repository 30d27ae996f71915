// What ICMP has said about the MTU of paths (RFC 1191).
#pragma once

#include <cstdint>

#include "base/flat_map.hpp"
#include "base/list.hpp"
#include "base/slab.hpp"
#include "core/context.hpp"
#include "wire/address.hpp"

namespace tidewire::ip {

//= RFC 1191 §7.1
/// The next plateau below `size` (bytes of the packet that was too big); at least 68.
std::uint32_t plateau_below(std::uint32_t size) noexcept;

/// A bounded table of destinations whose path MTU is smaller than their interface's. Entries age.
class PathMtuTable {
 public:
  explicit PathMtuTable(Context& context) noexcept;
  ~PathMtuTable();
  PathMtuTable(const PathMtuTable&) = delete;
  PathMtuTable& operator=(const PathMtuTable&) = delete;

  struct Estimate {
    std::uint32_t mtu = 0;
    /// ICMP asked for less than the configured floor: packets go without DF instead (as Linux).
    bool fragmentable = false;
  };
  /// `limit` or what is recorded for the destination, whichever is less.
  Estimate get(const IpAddress& destination, std::uint32_t limit) const noexcept;
  /// Records a smaller value, not below the configured floor. False if it does not lower what is
  /// known: an estimate never grows by a message (RFC 1191 §3).
  bool lower(const IpAddress& destination, std::uint32_t mtu, std::uint32_t current) noexcept;

  Instant next_deadline() const noexcept {
    return by_age_.empty() ? Instant::never() : first_deadline();
  }
  /// Forgets entries that are too old; true if there were any (paths may be larger again).
  bool on_timeout() noexcept;
  std::uint32_t size() const noexcept { return entries_.size(); }

 private:
  Instant first_deadline() const noexcept;

  struct AgeTag {};
  struct Entry : ListNode<AgeTag> {
    IpAddress destination;
    Estimate estimate;
    Instant expires;
  };
  struct AddressHash {
    std::uint64_t operator()(const RandomSeed& seed, const IpAddress& address) const noexcept;
  };
  void remove(Entry& entry) noexcept;

  Context& context_;
  Slab<Entry> entries_;
  FlatMap<IpAddress, std::uint32_t, AddressHash> index_;
  List<Entry, AgeTag> by_age_;
};

}  // namespace tidewire::ip
