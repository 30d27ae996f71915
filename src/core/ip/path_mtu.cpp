#include "core/ip/path_mtu.hpp"

#include <algorithm>
#include <array>

#include "wire/load.hpp"

namespace tidewire::ip {

std::uint32_t plateau_below(std::uint32_t size) noexcept {
  constexpr std::array<std::uint32_t, 10> kPlateaus{32'000, 17'914, 8'166, 4'352, 2'002,
                                                    1'492,  1'006,  508,   296,   68};
  for (const std::uint32_t plateau : kPlateaus) {
    if (plateau < size) return plateau;
  }
  return 68;
}

std::uint64_t PathMtuTable::AddressHash::operator()(const RandomSeed& seed,
                                                    const IpAddress& address) const noexcept {
  const auto* octets = reinterpret_cast<const std::byte*>(address.octets().data());
  return siphash13(seed, wire::load_native<std::uint64_t>(octets),
                   wire::load_native<std::uint64_t>(octets + 8), address.is_v4() ? 4 : 6);
}

PathMtuTable::PathMtuTable(Context& context) noexcept
    : context_(context),
      entries_(context.memory),
      index_(context.memory,
             derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::path_mtu_table))) {}

PathMtuTable::~PathMtuTable() { by_age_.clear(); }

PathMtuTable::Estimate PathMtuTable::get(const IpAddress& destination,
                                         std::uint32_t limit) const noexcept {
  if (index_.empty()) return {limit, false};
  const std::uint32_t* id = index_.find(destination);
  if (id == nullptr) return {limit, false};
  const Entry* entry = const_cast<Slab<Entry>&>(entries_).at_index(*id);
  return {std::min(limit, entry->estimate.mtu), entry->estimate.fragmentable};
}

//= RFC 1191 §3
bool PathMtuTable::lower(const IpAddress& destination, std::uint32_t mtu,
                         std::uint32_t current) noexcept {
  const std::uint32_t floor =
      destination.is_v6() ? 1'280 : std::max<std::uint32_t>(68, context_.config.ip.path_mtu_min);
  const bool fragmentable = mtu < floor && destination.is_v4();
  mtu = std::max(mtu, floor);
  if (mtu > current || (mtu == current && !fragmentable)) return false;
  Entry* entry = nullptr;
  if (const std::uint32_t* id = index_.find(destination)) {
    entry = entries_.at_index(*id);
  } else {
    if (entries_.size() >= std::max(1U, context_.config.ip.path_mtu_entries)) {
      remove(*by_age_.front());
    }
    entry = entries_.acquire();
    if (entry == nullptr) return false;
    if (index_.insert(destination, entries_.index_of(*entry)).value == nullptr) {
      entries_.release(*entry);
      return false;
    }
    entry->destination = destination;
  }
  entry->estimate = {mtu, fragmentable || entry->estimate.fragmentable};
  entry->expires = context_.now + context_.config.ip.path_mtu_age;
  by_age_.push_back(*entry);
  return true;
}

Instant PathMtuTable::first_deadline() const noexcept { return by_age_.front()->expires; }

//= RFC 1191 §6.3
bool PathMtuTable::on_timeout() noexcept {
  bool any = false;
  while (Entry* oldest = by_age_.front()) {
    if (oldest->expires > context_.now) break;
    remove(*oldest);
    any = true;
  }
  return any;
}

void PathMtuTable::remove(Entry& entry) noexcept {
  entry.unlink();
  (void)index_.erase(entry.destination);
  entries_.release(entry);
}

}  // namespace tidewire::ip
