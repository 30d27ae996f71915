#include "core/link/neighbor.hpp"

#include "wire/load.hpp"

namespace tidewire::link {
namespace {

// RFC 4861 §10: DELAY_FIRST_PROBE_TIME.
constexpr Duration kDelayFirstProbe = Duration::seconds(5);

}  // namespace

std::uint64_t NeighborTable::KeyHash::operator()(const RandomSeed& seed,
                                                 const Key& key) const noexcept {
  const auto* octets = reinterpret_cast<const std::byte*>(key.address.octets().data());
  return siphash13(seed, wire::load_native<std::uint64_t>(octets),
                   wire::load_native<std::uint64_t>(octets + 8), key.interface);
}

NeighborTable::NeighborTable(Context& context, NeighborActions& actions,
                             PacketStore& store) noexcept
    : context_(context),
      actions_(actions),
      store_(store),
      entries_(context.memory),
      index_(context.memory,
             derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::neighbor_table))),
      timers_(TimerWheel::kCoarse, context.now) {}

NeighborTable::~NeighborTable() {
  entries_.for_each([this](Neighbor& entry) {
    store_.drain(entry.queue);
    timers_.cancel(entry.timer);
    entry.unlink();
  });
}

Neighbor* NeighborTable::find(InterfaceId interface, const IpAddress& address) noexcept {
  const std::uint32_t* id = index_.find(Key{address, interface});
  return id == nullptr ? nullptr : get(*id);
}

std::uint32_t NeighborTable::intern(InterfaceId interface, const IpAddress& address) noexcept {
  const Key key{address, interface};
  if (const std::uint32_t* id = index_.find(key)) return *id;
  if (entries_.size() >= context_.config.ip.neighbor_entries && !make_room()) {
    context_.drop(DropReason::neighbor_limit, interface);
    return 0;
  }
  Neighbor* entry = entries_.acquire();
  if (entry == nullptr) {
    context_.drop(DropReason::no_memory, interface);
    return 0;
  }
  const std::uint32_t id = entries_.index_of(*entry) + 1;
  if (index_.insert(key, id).value == nullptr) {
    entries_.release(*entry);
    context_.drop(DropReason::no_memory, interface);
    return 0;
  }
  entry->interface = interface;
  entry->address = address;
  entry->state = NeighborState::failed;  // nothing asked yet: the first use() asks
  entry->last_used = context_.now;
  entry->timer.owner = entry;
  lru_.push_back(*entry);
  timers_.schedule(entry->timer, context_.now + context_.config.ip.neighbor_stale);
  return id;
}

// The least recently used entry that nothing waits for makes room; a bounded look is enough, since
// entries in use move to the back.
bool NeighborTable::make_room() noexcept {
  constexpr int kLook = 8;
  Neighbor* entry = lru_.front();
  for (int i = 0; i < kLook && entry != nullptr; ++i) {
    if (entry->queue.empty() && !entry->flow_waits) {
      forget(*entry);
      return true;
    }
    entry = lru_.next(*entry);
  }
  return false;
}

bool NeighborTable::use(Neighbor& entry) noexcept {
  if (entry.last_used != context_.now) {
    entry.last_used = context_.now;
    lru_.push_back(entry);
  }
  switch (entry.state) {
    case NeighborState::reachable:
    case NeighborState::delay:
    case NeighborState::probe:
      return true;
    case NeighborState::stale:
      entry.state = NeighborState::delay;
      timers_.schedule(entry.timer, context_.now + kDelayFirstProbe);
      return true;
    case NeighborState::incomplete:
      return false;
    case NeighborState::failed:
      break;
  }
  //= RFC 1122 §2.3.2.1
  // At most one request per retry interval for one destination, also across failures.
  const Instant earliest =
      entry.asked_once ? entry.last_request + context_.config.ip.neighbor_retry : context_.now;
  entry.state = NeighborState::incomplete;
  entry.probes = 0;
  if (earliest <= context_.now) {
    ask(entry, false);
  } else {
    timers_.schedule(entry.timer, earliest);
  }
  return false;
}

void NeighborTable::ask(Neighbor& entry, bool unicast) noexcept {
  ++entry.probes;
  entry.asked_once = true;
  entry.last_request = context_.now;
  timers_.schedule(entry.timer, context_.now + context_.config.ip.neighbor_retry);
  actions_.ask(entry, unicast);
}

//= RFC 1122 §2.3.2.2
void NeighborTable::enqueue(Neighbor& entry, QueuedPacket& packet) noexcept {
  entry.queue.push(packet);
  while (entry.queue.size_bytes() > context_.config.ip.neighbor_queue_bytes) {
    store_.release(*entry.queue.pop());
    context_.drop(DropReason::neighbor_queue_full, entry.interface);
  }
}

//= RFC 826 Packet Reception
bool NeighborTable::learn(InterfaceId interface, const IpAddress& address, const MacAddress& mac,
                          bool is_reply, bool may_create) noexcept {
  Neighbor* entry = find(interface, address);
  if (entry == nullptr) {
    if (!may_create) return false;
    entry = get(intern(interface, address));
    if (entry == nullptr) return false;
  }
  const bool changed = entry->mac != mac;
  entry->mac = mac;
  if (is_reply || !entry->usable()) {
    become_reachable(*entry);
  } else if (changed) {
    // Told, not asked: believed, but asked about when it is next used.
    entry->state = NeighborState::stale;
    timers_.schedule(entry->timer, context_.now + context_.config.ip.neighbor_stale);
  }
  return true;
}

void NeighborTable::become_reachable(Neighbor& entry) noexcept {
  const bool news = !entry.usable();
  entry.silent = false;
  entry.state = NeighborState::reachable;
  entry.probes = 0;
  entry.confirmed = context_.now;
  timers_.schedule(entry.timer, context_.now + context_.config.ip.neighbor_reachable);
  if (news) actions_.resolved(entry);
  entry.flow_waits = false;
}

void NeighborTable::confirm(Neighbor& entry) noexcept {
  if (!entry.usable()) return;
  entry.confirmed = context_.now;
  if (entry.state == NeighborState::delay || entry.state == NeighborState::probe ||
      entry.state == NeighborState::stale) {
    become_reachable(entry);
  }
}

//= RFC 1122 §3.3.1.4
void NeighborTable::doubt(Neighbor& entry) noexcept {
  if (!entry.usable() || entry.state == NeighborState::probe) return;
  if (context_.now < entry.confirmed + context_.config.ip.neighbor_retry) return;
  entry.state = NeighborState::probe;
  entry.probes = 0;
  ask(entry, true);
}

void NeighborTable::on_timer(Neighbor& entry) noexcept {
  const IpConfig& config = context_.config.ip;
  switch (entry.state) {
    case NeighborState::incomplete:
      if (entry.probes < config.neighbor_probes) return ask(entry, false);
      return fail_entry(entry);
    case NeighborState::reachable: {
      // confirm() only notes the time: the timer looks at it when it fires.
      const Instant end = entry.confirmed + config.neighbor_reachable;
      if (end > context_.now) return timers_.schedule(entry.timer, end);
      entry.state = NeighborState::stale;
      return timers_.schedule(entry.timer, context_.now + config.neighbor_stale);
    }
    case NeighborState::delay:
      entry.state = NeighborState::probe;
      entry.probes = 0;
      return ask(entry, true);
    case NeighborState::probe:
      if (entry.probes < config.neighbor_probes) return ask(entry, true);
      return fail_entry(entry);
    case NeighborState::stale:
    case NeighborState::failed:
      //= RFC 1122 §2.3.2.1
      // Out of date and not in use: gone.
      return forget(entry);
  }
}

void NeighborTable::fail_entry(Neighbor& entry) noexcept {
  entry.state = NeighborState::failed;
  entry.silent = true;
  timers_.schedule(entry.timer, context_.now + context_.config.ip.neighbor_stale);
  entry.flow_waits = true;  // the errors that are told now may need room for other entries
  actions_.failed(entry);
  entry.flow_waits = false;
}

void NeighborTable::forget(Neighbor& entry) noexcept {
  actions_.forgotten(entry);
  store_.drain(entry.queue);
  timers_.cancel(entry.timer);
  entry.unlink();
  (void)index_.erase(Key{entry.address, entry.interface});
  entries_.release(entry);
}

void NeighborTable::flush(InterfaceId interface) noexcept {
  entries_.for_each([&](Neighbor& entry) {
    if (entry.interface == interface) forget(entry);
  });
}

std::uint32_t NeighborTable::on_timeout(std::uint32_t limit) noexcept {
  return timers_.expire(context_.now, limit, [this](TimerEntry& timer) {
    on_timer(*static_cast<Neighbor*>(timer.owner));
  });
}

}  // namespace tidewire::link
