#include "front/posix/stack_backend.hpp"

#include <algorithm>
#include <cerrno>

#include "front/abi/errno_map.hpp"

namespace tidewire::posix {
namespace {

constexpr std::size_t send_room = 64 * 1024;

template <typename T>
int error_of(const SocketResult<T>& result) {
  return result ? 0 : errno_of(result.error());
}

SocketKind kind_of(Transport transport) {
  switch (transport) {
    case Transport::tcp:
      return SocketKind::tcp;
    case Transport::udp:
    case Transport::udp_lite:
      return SocketKind::udp;
    case Transport::icmp_echo:
      return SocketKind::icmp;
  }
  return SocketKind::none;
}

Endpoint unmapped(Endpoint endpoint) {
  endpoint.address = endpoint.address.unmapped();
  return endpoint;
}

}  // namespace

StackBackend::StackBackend(Stack& stack, StackBackendConfig config)
    : stack_(stack), config_(std::move(config)) {
  for (const auto& interface : config_.interfaces) shown_.push_back(interface.info);
}

StackBackend::Entry* StackBackend::entry(SocketRef socket) {
  const auto found = entries_.find(socket);
  return found == entries_.end() ? nullptr : found->second.get();
}

std::optional<SocketId> StackBackend::socket_id(SocketRef socket) const {
  const auto found = entries_.find(socket);
  if (found == entries_.end()) return std::nullopt;
  return found->second->id;
}

void StackBackend::set_mtu(InterfaceId interface, std::uint32_t mtu) {
  for (std::size_t i = 0; i < shown_.size(); ++i) {
    if (config_.interfaces[i].id == interface) shown_[i].mtu = mtu;
  }
}

SocketRef StackBackend::socket_ref(SocketId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? 0 : found->second;
}

SocketRef StackBackend::add(SocketId id, Transport transport, Family family) {
  const SocketRef ref = ++last_;
  auto made = std::make_unique<Entry>();
  made->id = id;
  made->transport = transport;
  made->family = family;
  entries_.emplace(ref, std::move(made));
  by_id_[id] = ref;
  return ref;
}

void StackBackend::forget(SocketRef socket) {
  Entry* e = entry(socket);
  release_port(socket, *e);
  by_id_.erase(e->id);
  entries_.erase(socket);
}

// --- events ---

void StackBackend::on_event(const Event& event, Instant now) {
  now_ = later(now_, now);
  const auto found = by_id_.find(event.socket);
  if (event.kind != Event::Kind::socket || found == by_id_.end()) return;
  Entry& e = *entry(found->second);
  std::uint32_t levels = 0;
  if ((event.bits & kError) != 0) {
    const int error = errno_of(stack_.take_error(e.id));
    if (error != 0) {
      e.error = error;
      e.failed = e.connecting;
      e.connecting = false;
      levels |= level::failed;
    }
  }
  if ((event.bits & kConnected) != 0 && e.connecting) {
    e.connecting = false;
    e.connected = true;
    levels |= level::connected;
  }
  if ((event.bits & (kReadable | kPeerClosed | kClosed)) != 0) {
    levels |= level::readable | level::acceptable;
  }
  if ((event.bits & kWritable) != 0) levels |= level::writable;
  if ((event.bits & kUrgent) != 0) {
    e.urgent = true;
    levels |= level::urgent | level::readable;
  }
  if (levels != 0) events_.push_back({found->second, levels});
}

std::optional<BackendEvent> StackBackend::poll_event() {
  while (!events_.empty()) {
    const BackendEvent event = events_.front();
    events_.pop_front();
    if (entries_.contains(event.socket)) return event;
  }
  return std::nullopt;
}

// --- life ---

Result<SocketRef, int> StackBackend::open(Transport transport, Family family) {
  const auto id = stack_.open(kind_of(transport), family);
  if (!id) return fail(errno_of(id.error()));
  return add(*id, transport, family);
}

void StackBackend::close(SocketRef socket, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  stack_.close(e->id, now);
  forget(socket);
}

void StackBackend::abort(SocketRef socket, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  stack_.abort(e->id, now);
  forget(socket);
}

// A socket of the stack whose connect failed keeps the source it chose; the next attempt may need
// another one.
int StackBackend::renew(SocketRef ref, Entry& e) {
  const auto id = stack_.open(kind_of(e.transport), e.family);
  if (!id) return errno_of(id.error());
  stack_.close(e.id, now_);
  by_id_.erase(e.id);
  e.id = *id;
  by_id_[e.id] = ref;
  e.failed = e.connected = e.connecting = false;
  e.error = 0;
  const std::map<Option, int> options = e.options;
  for (const auto& [option, value] : options) (void)set_option(ref, option, value, now_);
  if (!e.bound) return 0;
  return error_of(stack_.bind(e.id, outward(e, *e.bound), now_));
}

Endpoint StackBackend::outward(const Entry& e, Endpoint endpoint) const {
  if (e.family == Family::v6) endpoint.address = endpoint.address.mapped();
  return endpoint;
}

int StackBackend::bind(SocketRef socket, const Endpoint& local) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  const auto done = stack_.bind(e->id, outward(*e, local), now_);
  if (!done) return errno_of(done.error());
  e->bound = local;
  if (const auto chosen = stack_.local_endpoint(e->id)) e->bound->port = chosen->port;
  if (e->transport != Transport::tcp) claim_port(socket, *e);
  return 0;
}

int StackBackend::listen(SocketRef socket, int backlog, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  if (backlog < 0) {
    release_port(socket, *e);
    return error_of(stack_.shutdown(e->id, ShutdownHow::read, now));
  }
  const int error = error_of(stack_.listen(e->id, static_cast<std::uint32_t>(backlog), now));
  if (error == 0) claim_port(socket, *e);
  return error;
}

Result<SocketRef, int> StackBackend::accept(SocketRef listener, Instant now) {
  Entry* e = entry(listener);
  if (e == nullptr) return fail(EBADF);
  const auto id = stack_.accept(e->id, now);
  if (!id) return fail(errno_of(id.error()));
  const SocketRef ref = add(*id, Transport::tcp, e->family);
  Entry& accepted = *entry(ref);
  accepted.connected = true;
  // Its event may have been before.
  accepted.urgent = (stack_.readiness(*id) & kUrgent) != 0;
  return ref;
}

// Makes the socket fit for another attempt, and says where it really goes.
Result<Endpoint, int> StackBackend::prepare_connect(SocketRef socket, Entry& e,
                                                    const Endpoint& remote) {
  if (e.failed) {
    const int error = renew(socket, e);
    if (error != 0) return fail(error);
  }
  const auto detour = through_gateway(e, remote);
  e.host_alias.reset();
  if (detour) e.host_alias = remote;
  return outward(e, detour.value_or(remote));
}

Result<std::size_t, int> StackBackend::connect_send(SocketRef socket, const Endpoint& remote,
                                                    Bytes data, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return fail(EBADF);
  now_ = later(now_, now);
  const auto to = prepare_connect(socket, *e, remote);
  if (!to) return fail(to.error());
  const auto taken = stack_.connect_send(e->id, *to, data, now);
  if (!taken) {
    e->host_alias.reset();
    return fail(errno_of(taken.error()));
  }
  e->error = 0;
  e->connecting = true;
  return *taken;
}

int StackBackend::connect(SocketRef socket, const Endpoint& remote, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  now_ = later(now_, now);
  const auto to = prepare_connect(socket, *e, remote);
  if (!to) return to.error();
  const auto result = stack_.connect(e->id, *to, now);
  const int error = error_of(result);
  if (error != 0 && error != EINPROGRESS) {
    e->host_alias.reset();
    return error;
  }
  if (e->transport != Transport::tcp) {
    e->connected = true;
    claim_port(socket, *e);
    return 0;
  }
  e->error = 0;
  // TCP_FASTOPEN_CONNECT: what is written first starts the handshake.
  e->connected = (stack_.readiness(e->id) & (kWritable | kConnected)) == kWritable;
  e->connecting = !e->connected;
  return 0;
}

int StackBackend::disconnect(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  e->connected = false;
  e->host_alias.reset();
  return error_of(stack_.connect(e->id, std::nullopt, now_));
}

// --- streams ---

StreamState StackBackend::state(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return {false, true, EBADF};
  const ReceivedBytes bytes = stack_.received(e->id);
  return {e->connected, e->connected && bytes.end_of_stream && bytes.size() == 0, e->error};
}

std::span<const MutBytes> StackBackend::send_space(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return {};
  room_ = stack_.send_space(e->id, send_room);
  if (room_.empty()) return {};
  return {&room_, 1};
}

void StackBackend::sent(SocketRef socket, std::size_t bytes, bool urgent_end, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return;
  SendOptions options;
  options.urgent = urgent_end;
  (void)stack_.sent(e->id, bytes, options, now);
}

// The urgent byte is taken before what follows it.
bool StackBackend::at_urgent_byte(Entry& e) {
  if (!e.urgent) return false;
  e.urgent = (stack_.readiness(e.id) & kUrgent) != 0;
  return e.urgent && stack_.get_option(e.id, SocketOption::urgent_mark).value_or(0) != 0;
}

std::span<const Bytes> StackBackend::received(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr || !e->connected || at_urgent_byte(*e)) return {};
  const ReceivedBytes bytes = stack_.received(e->id);
  if (bytes.size() == 0) return {};
  data_ = {bytes.first, bytes.second};
  return std::span<const Bytes>(data_).first(bytes.second.empty() ? 1 : 2);
}

void StackBackend::consumed(SocketRef socket, std::size_t bytes, Instant now) {
  Entry* e = entry(socket);
  if (e != nullptr) (void)stack_.consumed(e->id, bytes, now);
}

std::optional<std::byte> StackBackend::take_urgent(SocketRef socket, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr || !at_urgent_byte(*e)) return std::nullopt;
  std::byte byte{};
  ReceiveOptions options;
  options.urgent = true;
  if (stack_.receive(e->id, MutBytes{&byte, 1}, options, now).value_or(0) != 1) {
    return std::nullopt;
  }
  // Moves the read position past the mark.
  (void)stack_.consumed(e->id, 0, now);
  return byte;
}

void StackBackend::shutdown_send(SocketRef socket, Instant now) {
  Entry* e = entry(socket);
  if (e != nullptr) (void)stack_.shutdown(e->id, ShutdownHow::write, now);
}

std::size_t StackBackend::unacknowledged(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return 0;
  return static_cast<std::size_t>(stack_.get_option(e->id, SocketOption::unacked).value_or(0));
}

// --- names ---

Endpoint StackBackend::local(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return {};
  const auto found = stack_.local_endpoint(e->id);
  Endpoint shown = found ? *found : Endpoint{IpAddress::any(e->family), 0, 0};
  if (e->host_alias) shown.address = IpAddress::loopback(Family::v4);
  // :: stays :: on a dual-stack socket; an IPv4 address is mapped by whoever writes the sockaddr.
  return shown.address.is_v4_mapped() ? unmapped(shown) : shown;
}

Result<Endpoint, int> StackBackend::remote(SocketRef socket) {
  Entry* e = entry(socket);
  if (e == nullptr) return fail(EBADF);
  const auto found = stack_.remote_endpoint(e->id);
  if (!found) return fail(ENOTCONN);
  return e->host_alias ? *e->host_alias : unmapped(*found);
}

}  // namespace tidewire::posix
