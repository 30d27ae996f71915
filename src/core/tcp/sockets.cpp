// Opening: bind, connect, listen, accept.
#include "core/tcp/sockets.hpp"

#include <algorithm>

namespace tidewire::tcp {

SocketResult<SocketId> Sockets::open(Family family) noexcept {
  Connection* c = s.make_connection();
  if (c == nullptr) return fail(SocketError::no_buffers);
  c->owned = true;
  c->family_v6 = family == Family::v6;
  c->settings = Settings::from(s.config());
  c->tuple = Tuple::of(IpAddress::any(family), 0, IpAddress::any(family), 0);
  return s.id_of(*c);
}

/// The address as it is on the wire, if a socket of this family can have it.
std::optional<IpAddress> Sockets::fit_family(const Connection& c,
                                             const IpAddress& address) const noexcept {
  if (!c.family_v6) return address.is_v4() ? std::optional{address} : std::nullopt;
  if (address.is_v4()) return std::nullopt;
  if (address.is_v4_mapped() && c.settings.v6_only) return std::nullopt;
  return address.unmapped();
}

IpAddress Sockets::shown(const Connection& c, const IpAddress& address) const noexcept {
  return c.family_v6 ? address.mapped() : address;
}

//= RFC 9293 §3.9.1.1 MUST-43
SocketResult<void> Sockets::bind(Connection& c, const Endpoint& local) noexcept {
  if (c.state != TcpState::closed || c.bind != 0) return fail(SocketError::invalid);
  const auto address = fit_family(c, local.address);
  if (!address) return fail(SocketError::address_family);
  if (!address->is_unspecified() && !s.out.is_local(*address)) {
    return fail(SocketError::address_not_available);
  }
  BindRequest request;
  request.protocol = Protocol::tcp;
  request.local = {*address, local.port, local.scope_id};
  request.v6_only = !(c.family_v6 && !c.settings.v6_only);
  request.reuse_address = c.settings.reuse_address;
  request.reuse_port = c.settings.reuse_port;
  request.interface = c.settings.bound;
  const auto bound = local.port == 0 ? s.ports.bind_ephemeral(request) : s.ports.bind(request);
  if (!bound) return fail(bound.error());
  c.bind = *bound;
  c.bound = true;
  c.tuple.local = address->mapped().octets();
  c.tuple.local_port = request.local.port;
  if (c.family_v6 && address->is_unspecified() && address->is_v6()) {
    c.tuple.local = IpAddress::any(Family::v6).octets();
  }
  return {};
}

//= RFC 9293 §3.9.1.1 MUST-44 MUST-46
SocketResult<void> Sockets::connect(Connection& c, const std::optional<Endpoint>& remote,
                                    const TupleLookup& tuples) noexcept {
  if (const auto r = prepare_connect(c, remote, tuples); !r) return r;
  if (c.settings.fast_open_connect && (s.config().fast_open & kFastOpenClient) != 0 &&
      fast_open_known(c)) {
    c.syn_deferred = true;  // the first data goes with the SYN
    s.update_events(c);
  } else {
    launch_syn(c);
  }
  return {};
}

/// SYN-SENT, but nothing is sent yet.
SocketResult<void> Sockets::prepare_connect(Connection& c, const std::optional<Endpoint>& remote,
                                            const TupleLookup& tuples) noexcept {
  using enum TcpState;
  if (c.syn_deferred) return fail(SocketError::is_connected);
  if (c.state == syn_sent || (c.state == syn_received && !c.connected)) {
    return fail(SocketError::already);
  }
  if (c.state == listen || (c.state != closed)) return fail(SocketError::is_connected);
  if (c.connected) return fail(SocketError::is_connected);
  if (!remote) return fail(SocketError::invalid);
  const auto fitted = fit_family(c, remote->address);
  if (!fitted) return fail(SocketError::address_family);
  IpAddress to = *fitted;
  // As Linux: the unspecified address means this host.
  if (to.is_unspecified()) to = IpAddress::loopback(to.family());
  if (remote->port == 0) return fail(SocketError::address_not_available);
  if (to.is_multicast() || s.out.is_broadcast(to)) return fail(SocketError::network_unreachable);
  if (const auto r = choose_local(c, {to, remote->port, remote->scope_id}, tuples); !r) return r;
  if (!s.add_flow(c)) return fail(SocketError::no_buffers);
  c.error = c.soft_error = SocketError::none;
  c.passive = false;
  c.fin_queued = c.fin_sent = c.fin_acked = c.fin_received = c.fin_pending = false;
  c.syn_sent_once = c.syn_acked = c.syn_retransmitted = c.syn_too_big = false;
  c.syn_fast_open = c.syn_data_acked = false;
  c.fast_open_failure = FastOpenFailure::none;
  c.syn_text = 0;
  c.retries = 0;
  c.rtt = RttEstimator{};
  c.path = ip::Path{};
  c.snd = Connection::Send{};
  c.rcv = Connection::Receive{};
  c.snd.iss = s.make_isn(c.tuple);
  c.snd.una = c.snd.nxt = c.snd.iss;
  s.set_state(c, TcpState::syn_sent);
  return {};
}

SocketResult<void> Sockets::choose_local(Connection& c, const Endpoint& remote,
                                         const TupleLookup& tuples) noexcept {
  IpAddress from = c.tuple.local_address();
  if (from.is_unspecified()) {
    const auto source = s.out.source_for(remote.address, c.settings.bound);
    if (!source) return fail(source.error());
    from = *source;
  } else if (from.family() != remote.address.family()) {
    return fail(SocketError::network_unreachable);
  }
  if (c.bind == 0) {
    BindRequest request;
    request.protocol = Protocol::tcp;
    request.local = {from, 0, 0};
    request.reuse_address = c.settings.reuse_address;
    request.interface = c.settings.bound;
    const auto bound = s.ports.bind_for_connect(request, remote, tuples);
    if (!bound) return fail(bound.error());
    c.bind = *bound;
    c.tuple.local_port = request.local.port;
  } else if (tuples.in_use(Protocol::tcp, {from, c.tuple.local_port, 0}, remote) ||
             belongs_elsewhere(c, from, remote)) {
    return fail(SocketError::address_not_available);
  }
  c.tuple = Tuple::of(from, c.tuple.local_port, remote.address, remote.port);
  return {};
}

/// The answers would go to another shard of this host.
bool Sockets::belongs_elsewhere(const Connection& c, const IpAddress& from,
                                const Endpoint& remote) const noexcept {
  return !s.out.is_local(remote.address) &&
         !s.ports.comes_here(Protocol::tcp, {from, c.tuple.local_port, 0}, remote);
}

//= RFC 9293 §3.10.1
void Sockets::launch_syn(Connection& c) noexcept {
  c.syn_deferred = false;
  c.owe_syn = true;
  c.retries_since = s.now();
  s.mark_ready(c);
  // Counts from here, also if the device never takes the SYN.
  s.arm(c, TimerKind::retransmit, s.now() + s.config().rto_initial);
  s.update_events(c);
}

//= RFC 9293 §3.9.1.1 MUST-41 MUST-42
SocketResult<void> Sockets::listen(Connection& c, std::uint32_t backlog) noexcept {
  const std::uint32_t clamped = std::min(backlog, s.config().somaxconn);
  if (c.state == TcpState::listen) {
    c.listener->backlog = clamped;
    return {};
  }
  if (c.state != TcpState::closed || c.connected) return fail(SocketError::invalid);
  if (c.bind == 0) {
    const Family family = c.family_v6 ? Family::v6 : Family::v4;
    if (const auto r = bind(c, {IpAddress::any(family), 0, 0}); !r) return r;
  }
  if (const auto r = s.ports.set_listening(c.bind, true); !r) return r;
  c.listener = s.listeners.acquire();
  if (c.listener == nullptr) {
    (void)s.ports.set_listening(c.bind, false);
    return fail(SocketError::no_buffers);
  }
  c.listener->backlog = clamped;
  const ListenKey key{c.tuple.local, c.tuple.local_port};
  const auto slot = s.listen_table.insert(key, s.connections.index_of(c));
  if (slot.value == nullptr) {
    s.listeners.release(*c.listener);
    c.listener = nullptr;
    (void)s.ports.set_listening(c.bind, false);
    return fail(SocketError::no_buffers);
  }
  if (!slot.fresh) {
    c.listener->next_same = *slot.value;
    *slot.value = s.connections.index_of(c);
  }
  c.error = SocketError::none;
  s.set_state(c, TcpState::listen);
  s.update_events(c);
  return {};
}

SocketResult<SocketId> Sockets::accept(Connection& c) noexcept {
  if (c.state != TcpState::listen) return fail(SocketError::invalid);
  Listener& l = *c.listener;
  if (l.first == kNoIndex) return fail(SocketError::would_block);
  Connection& taken = *s.connections.at_index(l.first);
  l.first = taken.accept_next;
  if (l.first == kNoIndex) l.last = kNoIndex;
  --l.ready;
  taken.accept_next = taken.accept_by = kNoIndex;
  taken.owned = true;
  s.update_events(c);
  s.update_events(taken);
  s.consider_rest(taken);
  return s.id_of(taken);
}

}  // namespace tidewire::tcp
