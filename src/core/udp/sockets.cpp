#include "core/udp/sockets.hpp"

#include <algorithm>

#include "wire/load.hpp"

namespace tidewire::udp {

std::uint64_t Sockets::KeyHash::operator()(const RandomSeed& seed, const Key& key) const noexcept {
  const auto half = [](const IpAddress& address, std::size_t at) {
    return wire::load_native<std::uint64_t>(
        reinterpret_cast<const std::byte*>(address.octets().data()) + at);
  };
  const std::uint64_t rest = std::uint64_t{key.local_port} << 32 |
                             std::uint64_t{key.remote_port} << 16 |
                             static_cast<std::uint64_t>(key.kind);
  if (key.local.is_v4() && key.remote.is_v4()) {
    return siphash13(seed, std::uint64_t{key.local.v4_value()} << 32 | key.remote.v4_value(), rest);
  }
  const std::uint64_t remote = siphash13(seed, half(key.remote, 0), half(key.remote, 8));
  return siphash13(seed, half(key.local, 0), half(key.local, 8), remote, rest);
}

Sockets::Sockets(Context& context, ip::Layer& ip, PortRegistry& ports) noexcept
    : context_(context),
      ip_(ip),
      ports_(ports),
      sockets_(context.memory, context.config.sockets_max),
      table_(context.memory,
             derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::socket_table))),
      memberships_(context.memory),
      flows_(context.memory, context.config.flows_pending_max),
      flow_table_(context.memory,
                  derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::socket_table))),
      spread_key_(derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::port_table))) {}

Sockets::~Sockets() {
  ready_.clear();
  blocked_.clear();
}

Socket* Sockets::get(SocketId id) noexcept {
  if (id.kind != SocketKind::udp && id.kind != SocketKind::icmp) return nullptr;
  Socket* socket = sockets_.get({id.index, id.generation});
  return socket != nullptr && socket->id.kind == id.kind && socket->owned ? socket : nullptr;
}

SocketResult<SocketId> Sockets::open(SocketKind kind, Family family) noexcept {
  Socket* socket = sockets_.acquire(context_.memory);
  if (socket == nullptr) return fail(SocketError::no_buffers);
  const SlabHandle handle = sockets_.handle_of(*socket);
  socket->id = {kind, handle.index, handle.generation};
  const bool udp = kind == SocketKind::udp;
  socket->protocol =
      udp ? Protocol::udp : (family == Family::v4 ? Protocol::icmp : Protocol::icmpv6);
  socket->family = family;
  socket->v6_only = !udp;
  socket->local.address = socket->remote.address = IpAddress::any(family);
  socket->send_buffer = context_.config.udp.send_buffer;
  socket->receive_buffer = context_.config.udp.receive_buffer;
  socket->multicast_ttl = context_.config.ip.multicast_ttl;
  socket->events.reported = kWritable;  // as it is from the start: no news
  return socket->id;
}

/// What the owner of a dual-stack socket sees: IPv4 peers as IPv4-mapped addresses.
Endpoint Sockets::shown(const Socket& socket, Endpoint endpoint) const noexcept {
  if (socket.family == Family::v6) {
    endpoint.address = endpoint.address.is_v4() && endpoint.address.is_unspecified()
                           ? IpAddress::any(Family::v6)
                           : endpoint.address.mapped();
  }
  return endpoint;
}

/// An address from the owner in the form used inside.
SocketResult<Endpoint> Sockets::accepted(const Socket& socket,
                                         const Endpoint& endpoint) const noexcept {
  Endpoint inside = endpoint;
  inside.address = endpoint.address.unmapped();
  if (socket.family == Family::v4 && inside.address.is_v6()) {
    return fail(SocketError::address_family);
  }
  if (socket.family == Family::v6 && inside.address.is_v4() && socket.v6_only) {
    return fail(SocketError::network_unreachable);
  }
  return inside;
}

Sockets::Key Sockets::key_of(const Socket& socket) const noexcept {
  Kind kind = Kind::udp;
  if (socket.id.kind == SocketKind::icmp) {
    kind = socket.transparent ? Kind::echo_request : Kind::echo_reply;
  }
  if (socket.connected) {
    return {socket.local.address, socket.remote.address, socket.local.port, socket.remote.port,
            kind};
  }
  return {socket.local.address, IpAddress::any(socket.local.address.family()), socket.local.port, 0,
          kind};
}

SocketResult<void> Sockets::hash(Socket& socket) noexcept {
  const auto slot = table_.insert(key_of(socket), &socket);
  if (slot.value == nullptr) return fail(SocketError::no_buffers);
  socket.chain_prev = nullptr;
  socket.chain_next = slot.fresh ? nullptr : *slot.value;
  if (socket.chain_next != nullptr) socket.chain_next->chain_prev = &socket;
  *slot.value = &socket;
  socket.hashed = true;
  if (socket.connected) ++connected_;
  return {};
}

void Sockets::unhash(Socket& socket) noexcept {
  if (!socket.hashed) return;
  const Key key = key_of(socket);
  if (socket.chain_next != nullptr) socket.chain_next->chain_prev = socket.chain_prev;
  if (socket.chain_prev != nullptr) {
    socket.chain_prev->chain_next = socket.chain_next;
  } else if (socket.chain_next != nullptr) {
    *table_.find(key) = socket.chain_next;
  } else {
    (void)table_.erase(key);
  }
  socket.hashed = false;
  if (socket.connected) --connected_;
}

SocketResult<void> Sockets::bind(SocketId id, const Endpoint& local) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (socket->bound) return fail(SocketError::invalid);
  const auto inside = accepted(*socket, local);
  if (!inside) return fail(inside.error());
  const IpAddress& address = inside->address;
  const bool usable = address.is_unspecified() || ip_.is_local(address) || address.is_multicast() ||
                      ip_.is_broadcast(address);
  if (!usable) return fail(SocketError::address_not_available);
  BindRequest request;
  request.protocol = socket->protocol;
  request.local = *inside;
  request.v6_only = socket->v6_only;
  request.reuse_address = socket->reuse_address;
  request.reuse_port = socket->reuse_port;
  request.interface = socket->bound_interface;
  const auto bound = inside->port == 0 ? ports_.bind_ephemeral(request) : ports_.bind(request);
  if (!bound) return fail(bound.error());
  socket->bind = *bound;
  socket->local = request.local;
  socket->bound = true;
  if (auto hashed = hash(*socket); !hashed) {
    ports_.release(socket->bind);
    socket->bind = 0;
    socket->bound = false;
    return hashed;
  }
  return {};
}

SocketResult<void> Sockets::bind_implicitly(Socket& socket) noexcept {
  if (socket.bound) return {};
  auto result = bind(socket.id, {IpAddress::any(socket.family), 0, 0});
  socket.port_is_implicit = result.has_value();
  return result;
}

SocketResult<void> Sockets::connect(SocketId id, const std::optional<Endpoint>& remote) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (socket->transparent) return fail(SocketError::is_connected);
  if (!remote) {
    if (!socket->connected) return {};
    unhash(*socket);
    socket->connected = false;
    socket->remote = {IpAddress::any(socket->family), 0, 0};
    if (socket->wildcard_before_connect) {
      socket->local.address = IpAddress::any(socket->family);
    }
    return hash(*socket);
  }
  auto inside = accepted(*socket, *remote);
  if (!inside) return fail(inside.error());
  if (inside->address.is_unspecified()) {
    inside->address = IpAddress::loopback(inside->address.family());
  }
  if (socket->id.kind == SocketKind::icmp) {
    inside->port = 0;
  } else if (inside->port == 0) {
    return fail(SocketError::invalid);
  }
  if (ip_.is_broadcast(inside->address) && !socket->broadcast) {
    return fail(SocketError::access_denied);
  }
  const InterfaceId out = inside->address.is_multicast() && socket->bound_interface == kNoInterface
                              ? socket->multicast_interface
                              : socket->bound_interface;
  const bool fixed = socket->connected ? !socket->wildcard_before_connect
                                       : !socket->local.address.is_unspecified();
  if (fixed && socket->local.address.family() != inside->address.family()) {
    return fail(SocketError::network_unreachable);
  }
  const auto source = ip_.source_for(inside->address, out);
  if (!source) return fail(source.error());
  if (auto bound = bind_implicitly(*socket); !bound) return bound;
  if (belongs_elsewhere(*socket, *source, *inside)) {
    return fail(SocketError::address_not_available);
  }
  unhash(*socket);
  if (!socket->connected) socket->wildcard_before_connect = socket->local.address.is_unspecified();
  if (socket->wildcard_before_connect) socket->local.address = *source;
  socket->remote = *inside;
  socket->connected = true;
  socket->error = SocketError::none;
  return hash(*socket);
}

/// What `remote` answers would go to another shard of this host.
bool Sockets::belongs_elsewhere(const Socket& socket, const IpAddress& source,
                                const Endpoint& remote) const noexcept {
  const IpAddress& to = remote.address;
  if (socket.protocol != Protocol::udp || to.is_multicast() || ip_.is_broadcast(to)) return false;
  return !ip_.is_local(to) &&
         !ports_.comes_here(Protocol::udp, {source, socket.local.port, 0}, remote);
}

SocketResult<void> Sockets::shutdown(SocketId id, ShutdownHow how) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (!socket->connected) return fail(SocketError::not_connected);
  if (how != ShutdownHow::write) socket->read_shut = true;
  if (how != ShutdownHow::read) socket->write_shut = true;
  update(*socket);
  return {};
}

// Datagrams that were accepted for sending still go out.
void Sockets::close(SocketId id) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return;
  leave_all(*socket);
  unhash(*socket);
  if (socket->bind != 0) ports_.release(socket->bind);
  socket->bind = 0;
  socket->owned = false;
  socket->received.clear_memory();
  socket->errors.clear_memory();
  if (socket->queued.empty()) release(*socket);
}

void Sockets::release(Socket& socket) noexcept {
  socket.unlink();
  sockets_.release(socket);
}

SocketResult<Endpoint> Sockets::local_endpoint(SocketId id) const noexcept {
  const Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  return shown(*socket, socket->local);
}

SocketResult<Endpoint> Sockets::remote_endpoint(SocketId id) const noexcept {
  const Socket* socket = get(id);
  if (socket == nullptr) return fail(SocketError::unknown_socket);
  if (!socket->connected) return fail(SocketError::not_connected);
  return shown(*socket, socket->remote);
}

SocketError Sockets::take_error(SocketId id) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return SocketError::unknown_socket;
  const SocketError error = socket->error;
  socket->error = SocketError::none;
  update(*socket);
  return error;
}

std::optional<SocketErrorInfo> Sockets::take_error_info(SocketId id, MutBytes quote) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr || socket->errors.empty()) return std::nullopt;
  const auto front = socket->errors.front();
  SocketErrorInfo info = front.meta;
  info.quoted = static_cast<std::uint32_t>(front.size());
  Writer writer{quote};
  for (const Bytes part : {front.first, front.second}) {
    writer.bytes(part.first(std::min(part.size(), writer.remaining())));
  }
  socket->errors.pop();
  update(*socket);
  return info;
}

std::uint16_t Sockets::bits(const Socket& socket) const noexcept {
  unsigned value = 0;
  const bool error = socket.error != SocketError::none;
  if (!socket.received.empty() || error || socket.read_shut) value |= kReadable;
  // A third free again before the socket counts as writable once it was full.
  const std::size_t third = (socket.events.reported & kWritable) != 0 ? 0 : socket.send_buffer / 3;
  if (socket.queued.bytes() + third < socket.send_buffer || error) value |= kWritable;
  if (error) value |= kError;
  if (!socket.errors.empty()) value |= kErrorQueue;
  if (socket.read_shut) value |= kPeerClosed;
  if (socket.read_shut && socket.write_shut) value |= kClosed;
  return static_cast<std::uint16_t>(value);
}

std::uint16_t Sockets::readiness(SocketId id) const noexcept {
  const Socket* socket = get(id);
  return socket == nullptr ? std::uint16_t{0} : bits(*socket);
}

std::uint16_t Sockets::report(SocketId id) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return 0;
  socket->events.queued = false;
  return socket->events.reported = bits(*socket);
}

SocketInfo Sockets::describe(const Socket& socket) const noexcept {
  SocketInfo info;
  info.id = socket.id;
  info.protocol = socket.protocol;
  info.state = socket.connected ? TcpState::established : TcpState::closed;
  info.local = shown(socket, socket.local);
  info.remote = shown(socket, socket.remote);
  info.owned = socket.owned;
  info.receive_queue = static_cast<std::uint32_t>(socket.received.payload());
  info.send_queue = info.send_unsent = static_cast<std::uint32_t>(socket.queued.payload());
  info.bytes_sent = socket.bytes_sent;
  info.bytes_received = socket.bytes_received;
  info.segs_out = info.data_segs_out = socket.datagrams_sent;
  info.segs_in = info.data_segs_in = socket.datagrams_received;
  if (!socket.queued.empty()) info.limited_by = "link";
  return info;
}

std::optional<SocketInfo> Sockets::info(SocketId id) const noexcept {
  const Socket* socket = get(id);
  if (socket == nullptr) return std::nullopt;
  return describe(*socket);
}

std::optional<SocketInfo> Sockets::next_socket(SocketId after) const noexcept {
  auto& slab = const_cast<Slab<Socket>&>(sockets_);
  const bool start = after.kind != SocketKind::udp && after.kind != SocketKind::icmp;
  for (std::uint32_t i = start ? 0 : after.index + 1; i < slab.index_end(); ++i) {
    if (const Socket* socket = slab.at_index(i)) return describe(*socket);
  }
  return std::nullopt;
}

}  // namespace tidewire::udp
