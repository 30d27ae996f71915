#include "core/tcp/engine.hpp"

#include <new>

#include "core/tcp/input/input.hpp"
#include "core/tcp/output/sender.hpp"
#include "core/tcp/shared.hpp"
#include "core/tcp/sockets.hpp"
#include "core/tcp/timers.hpp"

namespace tidewire::tcp {

struct Engine::Impl {
  Impl(Context& context, ip::Output& output, PortRegistry& ports) noexcept
      : shared(context, output, ports),
        input(shared),
        sender(shared),
        timers(shared),
        sockets(shared, input) {}

  /// Calls f(const Connection&) to answer a question, which wakes nobody.
  template <typename F>
  static auto ask(Impl* impl, SocketId id, F&& f) noexcept
      -> decltype(f(std::declval<const Connection&>())) {
    std::optional<Connection> copy;
    const Connection* c = impl == nullptr ? nullptr : impl->shared.peek(id, copy);
    if (c == nullptr) return fail(SocketError::unknown_socket);
    return f(*c);
  }
  /// Calls f(Connection&), or answers for a stale id.
  template <typename F>
  static auto with(Impl* impl, SocketId id, F&& f) noexcept
      -> decltype(f(std::declval<Connection&>())) {
    Connection* c = impl == nullptr ? nullptr : impl->shared.find(id);
    if (c == nullptr) return fail(SocketError::unknown_socket);
    return f(*c);
  }

  Shared shared;
  Input input;
  Sender sender;
  Timers timers;
  Sockets sockets;
};

Engine::Engine(Context& context, ip::Output& output, PortRegistry& ports) noexcept
    : context_(context) {
  void* memory = context.memory.allocate(sizeof(Impl), alignof(Impl));
  if (memory != nullptr) impl_ = ::new (memory) Impl(context, output, ports);
}

Engine::~Engine() {
  if (impl_ == nullptr) return;
  impl_->shared.clear();
  impl_->~Impl();
  context_.memory.deallocate(impl_, sizeof(Impl), alignof(Impl));
}

void Engine::on_packet(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept {
  if (impl_ == nullptr) return context_.drop(DropReason::no_memory, packet.interface);
  impl_->input.on_packet(packet, forwarding);
}
void Engine::settle_frames() noexcept {
  if (impl_ != nullptr) impl_->shared.pool.settle();
}
void Engine::on_config() noexcept {
  if (impl_ != nullptr) impl_->shared.controller_name = context_.config.tcp.congestion_control;
}
void Engine::on_icmp_error(const ip::IcmpError& error) noexcept {
  if (impl_ != nullptr) impl_->input.on_icmp_error(error);
}
void Engine::on_neighbor_resolved(InterfaceId interface) noexcept {
  if (impl_ != nullptr) impl_->sender.on_neighbor_resolved(interface);
}
void Engine::on_neighbor_failed(InterfaceId interface, const IpAddress& next_hop) noexcept {
  if (impl_ != nullptr) impl_->sender.on_neighbor_failed(interface, next_hop);
}
void Engine::on_writable(InterfaceId interface) noexcept {
  if (impl_ != nullptr) impl_->sender.on_writable(interface);
}
void Engine::on_path_change() noexcept {
  if (impl_ != nullptr) impl_->sender.on_path_change();
}
std::uint32_t Engine::on_timeout(std::uint32_t limit) noexcept {
  return impl_ == nullptr ? 0 : impl_->timers.expire(limit);
}
Instant Engine::next_deadline() noexcept {
  return impl_ == nullptr ? Instant::never() : impl_->timers.next_deadline();
}
Transmit Engine::poll_transmit(TxBudget& budget) noexcept {
  return impl_ == nullptr ? Transmit::idle : impl_->sender.poll(budget);
}
bool Engine::in_use(Protocol protocol, const Endpoint& local,
                    const Endpoint& remote) const noexcept {
  if (protocol != Protocol::tcp || impl_ == nullptr) return false;
  return static_cast<bool>(
      impl_->shared.lookup(Tuple::of(local.address, local.port, remote.address, remote.port)));
}

SocketResult<SocketId> Engine::open(Family family) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return impl_->sockets.open(family);
}
SocketResult<void> Engine::bind(SocketId socket, const Endpoint& local) noexcept {
  return Impl::with(impl_, socket,
                    [&](Connection& c) noexcept { return impl_->sockets.bind(c, local); });
}
SocketResult<void> Engine::connect(SocketId socket,
                                   const std::optional<Endpoint>& remote) noexcept {
  return Impl::with(impl_, socket, [&](Connection& c) noexcept {
    return impl_->sockets.connect(c, remote, *this);
  });
}
SocketResult<std::size_t> Engine::connect_send(SocketId socket,
                                               const std::optional<Endpoint>& remote,
                                               Bytes data) noexcept {
  return Impl::with(impl_, socket, [&](Connection& c) noexcept {
    return impl_->sockets.connect_send(c, remote, data, *this);
  });
}
SocketResult<void> Engine::set_fast_open_keys(SocketId socket, Bytes keys) noexcept {
  return Impl::with(impl_, socket, [&](Connection& c) noexcept {
    return impl_->sockets.set_fast_open_keys(c, keys);
  });
}
SocketResult<void> Engine::set_fast_open_keys(Bytes keys) noexcept {
  const auto read = FastOpenKeys::read(keys);
  if (!read) return fail(SocketError::invalid);
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->shared.fast_open.set_keys(*read);
  return {};
}

void Engine::forget_fast_open() noexcept {
  if (impl_ != nullptr) impl_->shared.fast_open.forget();
}

SocketResult<std::size_t> Engine::fast_open_keys(SocketId socket, MutBytes out) const noexcept {
  return Impl::ask(impl_, socket, [&](const Connection& c) noexcept -> SocketResult<std::size_t> {
    return impl_->sockets.fast_open_keys(c, out);
  });
}
SocketResult<void> Engine::listen(SocketId socket, std::uint32_t backlog) noexcept {
  return Impl::with(impl_, socket,
                    [&](Connection& c) noexcept { return impl_->sockets.listen(c, backlog); });
}
SocketResult<SocketId> Engine::accept(SocketId listener) noexcept {
  return Impl::with(impl_, listener,
                    [&](Connection& c) noexcept { return impl_->sockets.accept(c); });
}
SocketResult<std::size_t> Engine::send(SocketId socket, Bytes data, SendOptions options) noexcept {
  return Impl::with(impl_, socket,
                    [&](Connection& c) noexcept { return impl_->sockets.send(c, data, options); });
}
MutBytes Engine::send_space(SocketId socket, std::size_t wanted) noexcept {
  if (impl_ == nullptr) return {};
  Connection* c = impl_->shared.find(socket);
  return c == nullptr ? MutBytes{} : impl_->sockets.send_space(*c, wanted);
}
std::size_t Engine::send_spaces(SocketId socket, std::span<MutBytes> out,
                                std::size_t wanted) noexcept {
  if (impl_ == nullptr) return 0;
  Connection* c = impl_->shared.find(socket);
  return c == nullptr ? 0 : impl_->sockets.send_spaces(*c, out, wanted);
}
SocketResult<void> Engine::sent(SocketId socket, std::size_t bytes, SendOptions options) noexcept {
  return Impl::with(impl_, socket,
                    [&](Connection& c) noexcept { return impl_->sockets.sent(c, bytes, options); });
}
SocketResult<std::size_t> Engine::receive(SocketId socket, MutBytes out,
                                          ReceiveOptions options) noexcept {
  return Impl::with(impl_, socket, [&](Connection& c) noexcept {
    return impl_->sockets.receive(c, out, options);
  });
}
ReceivedBytes Engine::received(SocketId socket) const noexcept {
  if (impl_ == nullptr) return {};
  std::optional<Connection> copy;
  const Connection* c = impl_->shared.peek(socket, copy);
  return c == nullptr ? ReceivedBytes{} : impl_->sockets.received(*c);
}
SocketResult<void> Engine::consumed(SocketId socket, std::size_t bytes) noexcept {
  return Impl::with(impl_, socket,
                    [&](Connection& c) noexcept { return impl_->sockets.consumed(c, bytes); });
}
SocketResult<void> Engine::shutdown(SocketId socket, ShutdownHow how) noexcept {
  return Impl::with(impl_, socket,
                    [&](Connection& c) noexcept { return impl_->sockets.shutdown(c, how); });
}
void Engine::close(SocketId socket) noexcept {
  if (impl_ == nullptr) return;
  if (Connection* c = impl_->shared.find(socket)) impl_->sockets.close(*c);
}
void Engine::abort(SocketId socket) noexcept {
  if (impl_ == nullptr) return;
  if (Connection* c = impl_->shared.find(socket)) impl_->sockets.abort(*c);
}
SocketResult<void> Engine::set_option(SocketId socket, SocketOption option,
                                      std::int64_t value) noexcept {
  return Impl::with(impl_, socket, [&](Connection& c) noexcept {
    return impl_->sockets.set_option(c, option, value);
  });
}
SocketResult<std::int64_t> Engine::get_option(SocketId socket, SocketOption option) const noexcept {
  return Impl::ask(impl_, socket, [&](const Connection& c) noexcept {
    return impl_->sockets.get_option(c, option);
  });
}
SocketResult<void> Engine::add_congestion_control(std::string_view name,
                                                  ControllerFactory factory) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (name.empty() || factory == nullptr) return fail(SocketError::invalid);
  if (impl_->shared.controllers.add(name, factory)) return {};
  return fail(SocketError::no_buffers);
}

SocketResult<void> Engine::set_congestion_control(SocketId socket, std::string_view name) noexcept {
  return Impl::with(impl_, socket, [&](Connection& c) noexcept {
    return impl_->sockets.set_congestion_control(c, name);
  });
}
SocketResult<Endpoint> Engine::local_endpoint(SocketId socket) const noexcept {
  return Impl::ask(impl_, socket,
                   [&](const Connection& c) noexcept { return impl_->sockets.local_endpoint(c); });
}
SocketResult<Endpoint> Engine::remote_endpoint(SocketId socket) const noexcept {
  return Impl::ask(impl_, socket,
                   [&](const Connection& c) noexcept { return impl_->sockets.remote_endpoint(c); });
}
SocketError Engine::take_error(SocketId socket) noexcept {
  Connection* c = impl_ == nullptr ? nullptr : impl_->shared.find(socket);
  if (c == nullptr) return SocketError::unknown_socket;
  const SocketError error = std::exchange(c->error, SocketError::none);
  if (error != SocketError::none) impl_->shared.update_events(*c);
  return error;
}
std::optional<SocketErrorInfo> Engine::take_error_info(SocketId socket) noexcept {
  Connection* c = impl_ == nullptr ? nullptr : impl_->shared.find(socket);
  return c == nullptr ? std::nullopt : impl_->shared.take_error_info(*c);
}
std::uint16_t Engine::readiness(SocketId socket) const noexcept {
  std::optional<Connection> copy;
  const Connection* c = impl_ == nullptr ? nullptr : impl_->shared.peek(socket, copy);
  return c == nullptr ? std::uint16_t{0} : impl_->shared.bits(*c);
}
std::uint16_t Engine::report(SocketId socket) noexcept {
  return impl_ == nullptr ? std::uint16_t{0} : impl_->shared.report(socket);
}
std::optional<SocketInfo> Engine::info(SocketId socket) const noexcept {
  if (impl_ == nullptr) return std::nullopt;
  return impl_->sockets.info(socket);
}
std::optional<SocketInfo> Engine::next_socket(SocketId after) const noexcept {
  if (impl_ == nullptr) return std::nullopt;
  return impl_->sockets.next_socket(after);
}

SocketResult<SocketId> Engine::forward_accept(FlowId flow) noexcept {
  if (impl_ == nullptr) return fail(SocketError::unknown_socket);
  return impl_->sockets.forward_accept(flow);
}
void Engine::forward_reject(FlowId flow, ForwardReject how) noexcept {
  if (impl_ != nullptr) impl_->sockets.forward_reject(flow, how);
}
void Engine::forward_drop(FlowId flow) noexcept {
  if (impl_ != nullptr) impl_->sockets.forward_drop(flow);
}

}  // namespace tidewire::tcp
