#include "core/tcp/engine.hpp"

namespace tidewire::tcp {

struct Engine::Impl {
  ip::Output& output;
  PortRegistry& ports;
};

Engine::Engine(Context& context, ip::Output&, PortRegistry&) noexcept : context_(context) {}
Engine::~Engine() = default;

void Engine::on_packet(const ip::Packet& packet, const ForwardPolicy&) noexcept {
  context_.drop(DropReason::tcp_no_socket, packet.interface);
}
void Engine::on_icmp_error(const ip::IcmpError&) noexcept {}
void Engine::on_neighbor_resolved(InterfaceId) noexcept {}
void Engine::on_neighbor_failed(InterfaceId, const IpAddress&) noexcept {}
void Engine::on_writable(InterfaceId) noexcept {}
void Engine::on_path_change() noexcept {}

std::uint32_t Engine::on_timeout(std::uint32_t) noexcept { return 0; }
Instant Engine::next_deadline() noexcept { return Instant::never(); }
Transmit Engine::poll_transmit(TxBudget&) noexcept { return Transmit::idle; }
bool Engine::in_use(Protocol, const Endpoint&, const Endpoint&) const noexcept { return false; }

SocketResult<SocketId> Engine::open(Family) noexcept { return fail(SocketError::not_supported); }
SocketResult<void> Engine::bind(SocketId, const Endpoint&) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<void> Engine::connect(SocketId, const std::optional<Endpoint>&) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<void> Engine::listen(SocketId, std::uint32_t) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<SocketId> Engine::accept(SocketId) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<std::size_t> Engine::send(SocketId, Bytes, SendOptions) noexcept {
  return fail(SocketError::not_supported);
}
MutBytes Engine::send_space(SocketId, std::size_t) noexcept { return {}; }
SocketResult<void> Engine::sent(SocketId, std::size_t, SendOptions) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<std::size_t> Engine::receive(SocketId, MutBytes, ReceiveOptions) noexcept {
  return fail(SocketError::not_supported);
}
ReceivedBytes Engine::received(SocketId) const noexcept { return {}; }
SocketResult<void> Engine::consumed(SocketId, std::size_t) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<void> Engine::shutdown(SocketId, ShutdownHow) noexcept {
  return fail(SocketError::not_supported);
}
void Engine::close(SocketId) noexcept {}
void Engine::abort(SocketId) noexcept {}
SocketResult<void> Engine::set_option(SocketId, SocketOption, std::int64_t) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<std::int64_t> Engine::get_option(SocketId, SocketOption) const noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<void> Engine::set_congestion_control(SocketId, std::string_view) noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<Endpoint> Engine::local_endpoint(SocketId) const noexcept {
  return fail(SocketError::not_supported);
}
SocketResult<Endpoint> Engine::remote_endpoint(SocketId) const noexcept {
  return fail(SocketError::not_supported);
}
SocketError Engine::take_error(SocketId) noexcept { return SocketError::unknown_socket; }
std::optional<SocketErrorInfo> Engine::take_error_info(SocketId) noexcept { return std::nullopt; }
std::uint16_t Engine::readiness(SocketId) const noexcept { return 0; }
EventSlot* Engine::event_slot(SocketId) noexcept { return nullptr; }
std::optional<SocketInfo> Engine::info(SocketId) const noexcept { return std::nullopt; }
std::optional<SocketInfo> Engine::next_socket(SocketId) const noexcept { return std::nullopt; }

SocketResult<SocketId> Engine::forward_accept(FlowId) noexcept {
  return fail(SocketError::not_supported);
}
void Engine::forward_reject(FlowId, ForwardReject) noexcept {}
void Engine::forward_drop(FlowId) noexcept {}

}  // namespace tidewire::tcp
