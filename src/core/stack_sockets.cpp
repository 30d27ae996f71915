// Socket calls: each goes to the machine of its kind of socket.
#include "core/stack.hpp"
#include "core/stack_impl.hpp"
#include "core/tcp/cc/registry.hpp"

namespace tidewire {
namespace {

bool is_tcp(SocketId socket) noexcept { return socket.kind == SocketKind::tcp; }
bool is_datagram(SocketId socket) noexcept {
  return socket.kind == SocketKind::udp || socket.kind == SocketKind::icmp;
}

}  // namespace

SocketResult<SocketId> Stack::open(SocketKind kind, Family family) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (kind == SocketKind::none) return fail(SocketError::invalid);
  return kind == SocketKind::tcp ? impl_->tcp.open(family) : impl_->datagrams.open(kind, family);
}

SocketResult<void> Stack::bind(SocketId socket, const Endpoint& local, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return is_tcp(socket) ? impl_->tcp.bind(socket, local) : impl_->datagrams.bind(socket, local);
}

SocketResult<void> Stack::connect(SocketId socket, const std::optional<Endpoint>& remote,
                                  Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return is_tcp(socket) ? impl_->tcp.connect(socket, remote)
                        : impl_->datagrams.connect(socket, remote);
}

SocketResult<std::size_t> Stack::connect_send(SocketId socket,
                                              const std::optional<Endpoint>& remote, Bytes data,
                                              Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.connect_send(socket, remote, data);
}

SocketResult<void> Stack::set_fast_open_keys(SocketId socket, Bytes keys, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.set_fast_open_keys(socket, keys);
}

SocketResult<void> Stack::set_fast_open_keys(Bytes keys) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return impl_->tcp.set_fast_open_keys(keys);
}

void Stack::forget_fast_open() noexcept {
  if (impl_ != nullptr) impl_->tcp.forget_fast_open();
}

SocketResult<std::size_t> Stack::fast_open_keys(SocketId socket, MutBytes out) const noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  return impl_->tcp.fast_open_keys(socket, out);
}

SocketResult<void> Stack::shutdown(SocketId socket, ShutdownHow how, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return is_tcp(socket) ? impl_->tcp.shutdown(socket, how) : impl_->datagrams.shutdown(socket, how);
}

void Stack::close(SocketId socket, Instant now) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  if (is_tcp(socket)) return impl_->tcp.close(socket);
  impl_->datagrams.close(socket);
}

void Stack::abort(SocketId socket, Instant now) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  if (is_tcp(socket)) return impl_->tcp.abort(socket);
  impl_->datagrams.close(socket);
}

SocketResult<void> Stack::set_option(SocketId socket, SocketOption option, std::int64_t value,
                                     Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return is_tcp(socket) ? impl_->tcp.set_option(socket, option, value)
                        : impl_->datagrams.set_option(socket, option, value);
}

SocketResult<std::int64_t> Stack::get_option(SocketId socket, SocketOption option) const noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return is_tcp(socket) ? impl_->tcp.get_option(socket, option)
                        : impl_->datagrams.get_option(socket, option);
}

SocketResult<Endpoint> Stack::local_endpoint(SocketId socket) const noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return is_tcp(socket) ? impl_->tcp.local_endpoint(socket)
                        : impl_->datagrams.local_endpoint(socket);
}

SocketResult<Endpoint> Stack::remote_endpoint(SocketId socket) const noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return is_tcp(socket) ? impl_->tcp.remote_endpoint(socket)
                        : impl_->datagrams.remote_endpoint(socket);
}

SocketError Stack::take_error(SocketId socket) noexcept {
  if (impl_ == nullptr) return SocketError::no_buffers;
  return is_tcp(socket) ? impl_->tcp.take_error(socket) : impl_->datagrams.take_error(socket);
}

std::optional<SocketErrorInfo> Stack::take_error_info(SocketId socket, MutBytes quote) noexcept {
  if (impl_ == nullptr) return std::nullopt;
  return is_tcp(socket) ? impl_->tcp.take_error_info(socket)
                        : impl_->datagrams.take_error_info(socket, quote);
}

std::uint16_t Stack::readiness(SocketId socket) const noexcept {
  if (impl_ == nullptr) return 0;
  return is_tcp(socket) ? impl_->tcp.readiness(socket) : impl_->datagrams.readiness(socket);
}

std::optional<SocketInfo> Stack::info(SocketId socket) const noexcept {
  if (impl_ == nullptr) return std::nullopt;
  return is_tcp(socket) ? impl_->tcp.info(socket) : impl_->datagrams.info(socket);
}

std::optional<SocketInfo> Stack::next_socket(SocketId after) const noexcept {
  if (impl_ == nullptr) return std::nullopt;
  if (!is_datagram(after)) {
    if (auto tcp = impl_->tcp.next_socket(after)) return tcp;
    return impl_->datagrams.next_socket({});
  }
  return impl_->datagrams.next_socket(after);
}

SocketResult<void> Stack::listen(SocketId socket, std::uint32_t backlog, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.listen(socket, backlog);
}

SocketResult<SocketId> Stack::accept(SocketId listener, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(listener)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.accept(listener);
}

SocketResult<std::size_t> Stack::send(SocketId socket, Bytes data, SendOptions options,
                                      Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.send(socket, data, options);
}

MutBytes Stack::send_space(SocketId socket, std::size_t wanted) noexcept {
  if (impl_ == nullptr || !is_tcp(socket)) return {};
  return impl_->tcp.send_space(socket, wanted);
}

std::size_t Stack::send_spaces(SocketId socket, std::span<MutBytes> out,
                               std::size_t wanted) noexcept {
  if (impl_ == nullptr || !is_tcp(socket)) return 0;
  return impl_->tcp.send_spaces(socket, out, wanted);
}

SocketResult<void> Stack::sent(SocketId socket, std::size_t bytes, SendOptions options,
                               Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.sent(socket, bytes, options);
}

SocketResult<std::size_t> Stack::receive(SocketId socket, MutBytes out, ReceiveOptions options,
                                         Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.receive(socket, out, options);
}

ReceivedBytes Stack::received(SocketId socket) const noexcept {
  if (impl_ == nullptr || !is_tcp(socket)) return {};
  return impl_->tcp.received(socket);
}

SocketResult<void> Stack::consumed(SocketId socket, std::size_t bytes, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.consumed(socket, bytes);
}

SocketResult<void> Stack::set_congestion_control(SocketId socket, std::string_view name,
                                                 Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (!is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->tcp.set_congestion_control(socket, name);
}

SocketResult<void> Stack::add_congestion_control(std::string_view name,
                                                 tcp::ControllerFactory factory) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return impl_->tcp.add_congestion_control(name, factory);
}

std::span<const std::string_view> congestion_controls() noexcept {
  return tcp::ControllerRegistry::kBuiltIn;
}

SocketResult<void> Stack::send_datagram(SocketId socket, std::span<const Bytes> data,
                                        const DatagramTarget& target, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->datagrams.send(socket, data, target);
}

SocketResult<DatagramInfo> Stack::receive_datagram(SocketId socket, MutBytes out, bool peek,
                                                   Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->datagrams.receive(socket, out, peek);
}

SocketResult<void> Stack::join_group(SocketId socket, const IpAddress& group, InterfaceId interface,
                                     Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->datagrams.join_group(socket, group, interface);
}

SocketResult<void> Stack::leave_group(SocketId socket, const IpAddress& group,
                                      InterfaceId interface, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  if (is_tcp(socket)) return fail(SocketError::not_supported);
  impl_->at(now);
  return impl_->datagrams.leave_group(socket, group, interface);
}

SocketResult<SocketId> Stack::forward_accept(FlowId flow, Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return flow.protocol == Protocol::tcp ? impl_->tcp.forward_accept(flow)
                                        : impl_->datagrams.forward_accept(flow);
}

void Stack::forward_reject(FlowId flow, ForwardReject how, Instant now) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  if (flow.protocol == Protocol::tcp) return impl_->tcp.forward_reject(flow, how);
  impl_->datagrams.forward_reject(flow, how);
}

void Stack::forward_drop(FlowId flow) noexcept {
  if (impl_ == nullptr) return;
  if (flow.protocol == Protocol::tcp) return impl_->tcp.forward_drop(flow);
  impl_->datagrams.forward_drop(flow);
}

void Stack::forward_refuse(SocketId socket, ForwardReject how, Instant now) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  if (socket.kind == SocketKind::tcp) return impl_->tcp.abort(socket);
  impl_->datagrams.forward_refuse(socket, how);
}

}  // namespace tidewire
