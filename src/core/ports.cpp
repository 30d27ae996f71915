#include "core/ports.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "base/flat_map.hpp"
#include "base/slab.hpp"
#include "wire/load.hpp"

namespace tidewire {
namespace {

/// One holder, or several that share what one bind() got.
struct Bind {
  Protocol protocol = Protocol::tcp;
  Endpoint local;
  InterfaceId interface = kNoInterface;
  bool v6_only = true;
  bool reuse_address = false, reuse_port = false;
  bool listening = false;
  bool by_connect = false;  ///< made by bind_for_connect
  std::uint32_t users = 1;
  Bind* next = nullptr;  ///< of the same protocol and port
};

bool is_wildcard(const Bind& bind) noexcept { return bind.local.address.is_unspecified(); }

/// A v6 wildcard that also takes IPv4.
bool is_dual(const Bind& bind) noexcept {
  return is_wildcard(bind) && bind.local.address.is_v6() && !bind.v6_only;
}

bool overlap(const Bind& a, const Bind& b) noexcept {
  if (a.interface != kNoInterface && b.interface != kNoInterface && a.interface != b.interface) {
    return false;
  }
  const Family fa = a.local.address.family(), fb = b.local.address.family();
  if (fa != fb) return fa == Family::v6 ? is_dual(a) : is_dual(b);
  return is_wildcard(a) || is_wildcard(b) || a.local.address == b.local.address;
}

/// Linux: inet_csk_bind_conflict and its UDP counterpart, without the owner's user id.
bool conflict(const Bind& a, const Bind& b) noexcept {
  if (!overlap(a, b)) return false;
  if (a.reuse_port && b.reuse_port) return false;
  return !(a.reuse_address && b.reuse_address && !a.listening && !b.listening);
}

}  // namespace

struct PortRegistry::Impl {
  explicit Impl(Context& c) noexcept
      : context(c),
        binds(c.memory),
        by_port(c.memory, derive(c.seed, static_cast<std::uint64_t>(SeedPurpose::port_table))),
        connect_key(derive(c.seed, static_cast<std::uint64_t>(SeedPurpose::ephemeral_port))),
        bind_rng(derive(c.seed, static_cast<std::uint64_t>(SeedPurpose::ephemeral_bind))) {}

  static std::uint32_t key(Protocol protocol, std::uint16_t port) noexcept {
    return std::uint32_t{static_cast<std::uint8_t>(protocol)} << 16 | port;
  }
  Bind* holders(Protocol protocol, std::uint16_t port) noexcept {
    Bind** head = by_port.find(key(protocol, port));
    return head == nullptr ? nullptr : *head;
  }
  bool free_for(const Bind& wanted) noexcept {
    for (Bind* b = holders(wanted.protocol, wanted.local.port); b != nullptr; b = b->next) {
      if (conflict(wanted, *b)) return false;
    }
    return true;
  }
  bool unshared(const Bind& wanted) noexcept {
    for (Bind* b = holders(wanted.protocol, wanted.local.port); b != nullptr; b = b->next) {
      if (overlap(wanted, *b)) return false;
    }
    return true;
  }
  Result<BindId, SocketError> add(const Bind& wanted) noexcept {
    Bind* bind = binds.acquire(wanted);
    if (bind == nullptr) return fail(SocketError::no_buffers);
    const auto slot = by_port.insert(key(wanted.protocol, wanted.local.port), bind);
    if (slot.value == nullptr) {
      binds.release(*bind);
      return fail(SocketError::no_buffers);
    }
    bind->next = slot.fresh ? nullptr : *slot.value;
    *slot.value = bind;
    return id_of(*bind);
  }
  void remove(Bind& bind) noexcept {
    Bind** head = by_port.find(key(bind.protocol, bind.local.port));
    Bind** link = head;
    while (*link != &bind) link = &(*link)->next;
    *link = bind.next;
    if (*head == nullptr) (void)by_port.erase(key(bind.protocol, bind.local.port));
    binds.release(bind);
  }
  bool port_is_ours(const Bind& wanted) const noexcept {
    const ShardConfig& shard = context.config.shard;
    if (shard.map.count <= 1 || wanted.protocol == Protocol::tcp) return true;
    return shard.map.port_owner(static_cast<std::uint8_t>(wanted.protocol), wanted.local.port) ==
           shard.index;
  }
  bool comes_here(Protocol protocol, const Endpoint& local, const Endpoint& remote) const noexcept {
    const ShardConfig& shard = context.config.shard;
    if (shard.map.count <= 1) return true;
    return shard.map.owner(static_cast<std::uint8_t>(protocol), local, remote) == shard.index;
  }
  BindId id_of(const Bind& bind) const noexcept { return binds.index_of(bind) + 1; }
  Bind* get(BindId id) noexcept { return id == 0 ? nullptr : binds.at_index(id - 1); }

  Context& context;
  Slab<Bind> binds;
  FlatMap<std::uint32_t, Bind*> by_port;
  RandomSeed connect_key;
  Rng bind_rng;
  /// RFC 6056 §3.3.4: one counter for each of the groups the second hash makes.
  std::array<std::uint32_t, 256> counters{};
};

namespace {

Bind make_bind(const BindRequest& request) noexcept {
  Bind bind;
  bind.protocol = request.protocol;
  bind.local = request.local;
  bind.local.address = request.local.address.unmapped();
  bind.interface = request.interface;
  bind.v6_only = request.v6_only;
  bind.reuse_address = request.reuse_address;
  bind.reuse_port = request.reuse_port;
  return bind;
}

/// The ephemeral range as first port and count.
struct Range {
  std::uint32_t first, count;
};
Range range_of(const PortConfig& config) noexcept {
  const std::uint32_t first = std::max<std::uint32_t>(1, config.ephemeral_first);
  const std::uint32_t last = std::max<std::uint32_t>(first, config.ephemeral_last);
  return {first, last - first + 1};
}

std::uint64_t address_hash(const RandomSeed& key, const IpAddress& address,
                           std::uint64_t more) noexcept {
  const auto* at = reinterpret_cast<const std::byte*>(address.octets().data());
  return siphash13(key, wire::load_native<std::uint64_t>(at),
                   wire::load_native<std::uint64_t>(at + 8), more);
}

}  // namespace

PortRegistry::PortRegistry(Context& context) noexcept : context_(context) {
  void* memory = context.memory.allocate(sizeof(Impl), alignof(Impl));
  if (memory != nullptr) impl_ = ::new (memory) Impl(context);
}

PortRegistry::~PortRegistry() {
  if (impl_ == nullptr) return;
  impl_->~Impl();
  context_.memory.deallocate(impl_, sizeof(Impl), alignof(Impl));
}

Result<BindId, SocketError> PortRegistry::bind(const BindRequest& request) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  const Bind wanted = make_bind(request);
  if (!impl_->free_for(wanted)) return fail(SocketError::address_in_use);
  return impl_->add(wanted);
}

//= RFC 6056 §3.3.3
// A random start, then one after the other, so that a free port is found if there is one. Ports
// that others hold on other addresses are free here; those that somebody shares by reuse are left
// alone as long as others are free.
Result<BindId, SocketError> PortRegistry::bind_ephemeral(BindRequest& request) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  const Range range = range_of(context_.config.ports);
  const std::uint64_t start = impl_->bind_rng.below(range.count);
  Bind wanted = make_bind(request);
  for (const bool share : {false, true}) {
    if (share && !request.reuse_address && !request.reuse_port) break;
    for (std::uint32_t i = 0; i < range.count; ++i) {
      wanted.local.port = static_cast<std::uint16_t>(range.first + (start + i) % range.count);
      if (!impl_->port_is_ours(wanted)) continue;
      if (!(share ? impl_->free_for(wanted) : impl_->unshared(wanted))) continue;
      request.local.port = wanted.local.port;
      return impl_->add(wanted);
    }
  }
  return fail(SocketError::address_in_use);
}

//= RFC 6056 §3.3.4
Result<BindId, SocketError> PortRegistry::bind_for_connect(BindRequest& request,
                                                           const Endpoint& remote,
                                                           const TupleLookup& tuples) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  const Range range = range_of(context_.config.ports);
  const std::uint64_t local = address_hash(impl_->connect_key, request.local.address, 1);
  const std::uint64_t offset =
      address_hash(impl_->connect_key, remote.address, local ^ std::uint64_t{remote.port} << 48);
  const std::uint64_t group =
      address_hash(impl_->connect_key, remote.address, (local << 16 | remote.port) + 1);
  std::uint32_t& counter = impl_->counters[group % impl_->counters.size()];
  Bind wanted = make_bind(request);
  wanted.by_connect = true;
  for (std::uint32_t i = 0; i < range.count; ++i) {
    const std::uint32_t step = counter++;
    wanted.local.port = static_cast<std::uint16_t>(range.first + (offset + step) % range.count);
    if (!impl_->comes_here(wanted.protocol, wanted.local, remote)) continue;
    Bind* same = nullptr;
    bool taken = false;
    for (Bind* b = impl_->holders(wanted.protocol, wanted.local.port); b != nullptr; b = b->next) {
      if (!overlap(wanted, *b)) continue;
      if (!b->by_connect) taken = true;
      if (b->by_connect && b->local.address == wanted.local.address &&
          b->interface == wanted.interface) {
        same = b;
      }
    }
    if (taken || tuples.in_use(wanted.protocol, wanted.local, remote)) continue;
    request.local.port = wanted.local.port;
    if (same == nullptr) return impl_->add(wanted);
    ++same->users;
    return impl_->id_of(*same);
  }
  return fail(SocketError::address_not_available);
}

bool PortRegistry::comes_here(Protocol protocol, const Endpoint& local,
                              const Endpoint& remote) const noexcept {
  return impl_ == nullptr || impl_->comes_here(protocol, local, remote);
}

Result<void, SocketError> PortRegistry::set_listening(BindId id, bool listening) noexcept {
  Bind* bind = impl_ == nullptr ? nullptr : impl_->get(id);
  if (bind == nullptr) return fail(SocketError::invalid);
  if (listening) {
    for (Bind* b = impl_->holders(bind->protocol, bind->local.port); b != nullptr; b = b->next) {
      if (b == bind || !b->listening || !overlap(*bind, *b)) continue;
      if (!(bind->reuse_port && b->reuse_port)) return fail(SocketError::address_in_use);
    }
  }
  bind->listening = listening;
  return {};
}

BindId PortRegistry::share(BindId id) noexcept {
  Bind* bind = impl_ == nullptr ? nullptr : impl_->get(id);
  if (bind == nullptr) return 0;
  ++bind->users;
  return id;
}

void PortRegistry::release(BindId id) noexcept {
  Bind* bind = impl_ == nullptr ? nullptr : impl_->get(id);
  if (bind == nullptr || --bind->users != 0) return;
  impl_->remove(*bind);
}

}  // namespace tidewire
