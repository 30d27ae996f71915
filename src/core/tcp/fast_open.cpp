#include "core/tcp/fast_open.hpp"

#include <algorithm>

#include "wire/load.hpp"

namespace tidewire::tcp {

namespace {

/// A client's next connection may be another shard's: all of a host have one key.
RandomSeed first_key(const Context& context) noexcept {
  const ShardConfig& shard = context.config.shard;
  return derive(shard.map.count > 1 ? shard.map.key : context.seed,
                static_cast<std::uint64_t>(SeedPurpose::fast_open_key));
}

RandomSeed read_key(Bytes octets) noexcept {
  return {wire::load_native<std::uint64_t>(octets.data()),
          wire::load_native<std::uint64_t>(octets.data() + 8)};
}

}  // namespace

std::optional<FastOpenKeys> FastOpenKeys::read(Bytes octets) noexcept {
  if (octets.size() != kKeyOctets && octets.size() != 2 * kKeyOctets) return std::nullopt;
  FastOpenKeys keys{read_key(octets), std::nullopt};
  if (octets.size() > kKeyOctets) keys.backup = read_key(octets.subspan(kKeyOctets));
  return keys;
}

wire::FastOpenCookie make_fast_open_cookie(const RandomSeed& key, const Tuple& tuple) noexcept {
  // Addresses only: a client may use the cookie on any port. As Linux makes it, so that servers of
  // both kinds may share an address and a key.
  const std::size_t skip = tuple.is_v4() ? 12 : 0;
  const std::size_t size = tuple.remote.size() - skip;
  std::array<std::byte, 32> hosts{};
  std::memcpy(hosts.data(), tuple.remote.data() + skip, size);
  std::memcpy(hosts.data() + size, tuple.local.data() + skip, size);
  wire::FastOpenCookie cookie{};
  const std::uint64_t value = siphash24(key, Bytes{hosts}.first(2 * size));
  for (unsigned i = 0; i < 8; ++i) cookie.octets[i] = static_cast<std::byte>(value >> (8 * i));
  cookie.size = 8;
  return cookie;
}

CookieVerdict check_fast_open_cookie(const FastOpenKeys& keys, const Tuple& tuple,
                                     const wire::FastOpenCookie& cookie) noexcept {
  const auto made_with = [&](const RandomSeed& key) noexcept {
    return std::ranges::equal(cookie.bytes(), make_fast_open_cookie(key, tuple).bytes());
  };
  if (made_with(keys.primary)) return CookieVerdict::good;
  if (keys.backup && made_with(*keys.backup)) return CookieVerdict::good_backup;
  return CookieVerdict::bad;
}

std::uint64_t FastOpen::KeyHash::operator()(const RandomSeed& seed, const Key& key) const noexcept {
  return hash(seed, Tuple{key.local, key.remote, 0, 0});
}

FastOpen::FastOpen(Context& context) noexcept
    : context_(context),
      keys_{first_key(context), {}},
      entries_(context.memory),
      index_(context.memory,
             derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::fast_open_table))) {}

FastOpen::~FastOpen() { by_age_.clear(); }

void FastOpen::forget() noexcept {
  while (Entry* oldest = by_age_.front()) {
    oldest->unlink();
    (void)index_.erase(oldest->key);
    entries_.release(*oldest);
  }
}

FastOpen::Entry* FastOpen::entry(const Key& key) noexcept {
  const std::uint32_t* id = index_.find(key);
  if (id == nullptr) return nullptr;
  Entry& found = *entries_.at_index(*id);
  found.unlink();
  by_age_.push_back(found);
  return &found;
}

FastOpen::Entry* FastOpen::make_entry(const Key& key) noexcept {
  if (Entry* known = entry(key)) return known;
  if (entries_.size() >= std::max(1U, context_.config.tcp.fast_open_entries)) {
    Entry& oldest = *by_age_.front();
    oldest.unlink();
    (void)index_.erase(oldest.key);
    entries_.release(oldest);
  }
  Entry* made = entries_.acquire();
  if (made == nullptr) return nullptr;
  if (index_.insert(key, entries_.index_of(*made)).value == nullptr) {
    entries_.release(*made);
    return nullptr;
  }
  made->key = key;
  by_age_.push_back(*made);
  return made;
}

FastOpen::Known FastOpen::find(const Tuple& tuple) noexcept {
  Known known{};
  const Entry* e = entry({tuple.local, tuple.remote});
  if (e == nullptr) return known;
  known.cookie = e->cookie;
  known.mss = e->mss;
  if (e->cookie.size == 0) known.cookie.experimental = e->form == Entry::Form::experimental;
  //= RFC 7413 §4.1.3.1
  // One loss may be any loss. From the second on the path is left alone, twice as long each time.
  if (e->losses > 1) {
    const Duration wait = context_.config.tcp.fast_open_retry *
                          (std::int64_t{1} << std::min<unsigned>(e->losses, 16));
    known.refused = context_.now < e->last_loss + wait;
  }
  return known;
}

void FastOpen::learn(const Tuple& tuple, const Outcome& outcome) noexcept {
  Entry* e = make_entry({tuple.local, tuple.remote});
  if (e == nullptr) return;
  if (outcome.mss != 0) e->mss = outcome.mss;
  if (outcome.cookie && outcome.cookie->size > 0) {
    e->cookie = *outcome.cookie;
  } else if (outcome.request_ignored && e->cookie.size == 0) {
    // Servers from before RFC 7413 know the other form. Who knows neither is asked in the new one.
    const auto next = outcome.experimental ? Entry::Form::settled : Entry::Form::experimental;
    e->form = std::max(e->form, next);
  }
  if (outcome.data_lost) {
    if (e->losses < 255) ++e->losses;
    e->last_loss = context_.now;
  } else {
    e->losses = 0;
  }
}

}  // namespace tidewire::tcp
