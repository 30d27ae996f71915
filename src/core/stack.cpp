// The seam: frames, time and events; configuration of the host.
#include "core/stack.hpp"

#include <new>

#include "core/stack_impl.hpp"

namespace tidewire {
namespace {

constexpr StackConfig kNoConfig{};
constexpr Counters kNoCounters{};

}  // namespace

void Stack::Impl::deliver(const ip::Packet& packet, const ForwardPolicy& forwarding) noexcept {
  switch (packet.protocol) {
    case Protocol::tcp:
      return tcp.on_packet(packet, forwarding);
    case Protocol::udp:
      return datagrams.on_udp(packet, forwarding);
    default:
      return datagrams.on_echo(packet, forwarding);
  }
}

//= RFC 1122 §3.2.2
void Stack::Impl::icmp_error(const ip::IcmpError& error) noexcept {
  switch (error.protocol) {
    case Protocol::tcp:
      return tcp.on_icmp_error(error);
    case Protocol::udp:
    case Protocol::icmp:
    case Protocol::icmpv6:
      return datagrams.on_icmp_error(error);
    default:
      return context.drop(DropReason::icmp_quote_mismatch);
  }
}

void Stack::Impl::neighbor_resolved(InterfaceId interface) noexcept {
  tcp.on_neighbor_resolved(interface);
}

void Stack::Impl::neighbor_failed(InterfaceId interface, const IpAddress& next_hop) noexcept {
  tcp.on_neighbor_failed(interface, next_hop);
}

void Stack::Impl::path_changed() noexcept { tcp.on_path_change(); }

Stack::Stack(const StackConfig& config, MemoryProvider& memory, const RandomSeed& seed,
             Instant now) noexcept
    : memory_(memory) {
  void* room = memory.allocate(sizeof(Impl), alignof(Impl));
  if (room != nullptr) impl_ = ::new (room) Impl(config, memory, seed, now);
}

Stack::~Stack() {
  if (impl_ == nullptr) return;
  impl_->~Impl();
  memory_.deallocate(impl_, sizeof(Impl), alignof(Impl));
}

void Stack::on_frames(InterfaceId interface, std::span<const RxFrame> frames, Instant now,
                      FrameLife life) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  impl_->ip.on_frames(interface, frames, life == FrameLife::until_settled);
}

void Stack::settle_frames() noexcept {
  if (impl_ != nullptr) impl_->tcp.settle_frames();
}

void Stack::on_timeout(Instant now) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  const std::uint32_t limit = impl_->config.timeouts_per_call;
  const std::uint32_t handled = impl_->ip.on_timeout(limit);
  if (handled < limit) (void)impl_->tcp.on_timeout(limit - handled);
}

Transmit Stack::poll_transmit(TxSink& sink, Instant now, TxBudget budget) noexcept {
  if (impl_ == nullptr) return Transmit::idle;
  impl_->at(now);
  impl_->ip.begin_poll(sink);
  // Replies for no socket first, then TCP's ACKs and data, then datagrams; then the requests for
  // link addresses that these have caused. A part that is blocked does not keep the others from
  // sending.
  Transmit result = Transmit::idle;
  const auto poll = [&](auto&& part) {
    if (result == Transmit::budget_spent) return;
    const Transmit answer = part();
    if (answer != Transmit::idle) result = answer;
  };
  const auto poll_outboxes = [&] {
    if (impl_->ip.has_queued()) poll([&] { return impl_->ip.poll_outboxes(budget); });
  };
  poll_outboxes();
  poll([&] { return impl_->tcp.poll_transmit(budget); });
  if (impl_->datagrams.has_queued()) {
    poll([&] { return impl_->datagrams.poll_transmit(budget); });
  }
  poll_outboxes();
  impl_->ip.end_poll();
  return result;
}

void Stack::on_writable(InterfaceId interface, Instant now) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  impl_->ip.on_writable(interface);
  impl_->tcp.on_writable(interface);
  impl_->datagrams.on_writable();
}

void Stack::on_link(InterfaceId interface, LinkState state, std::uint32_t mtu,
                    Instant now) noexcept {
  if (impl_ == nullptr) return;
  impl_->at(now);
  impl_->ip.on_link(interface, state, mtu);
  impl_->tcp.on_writable(interface);
  impl_->datagrams.on_writable();
}

Instant Stack::next_deadline() noexcept {
  if (impl_ == nullptr) return Instant::never();
  return earlier(impl_->ip.next_deadline(), impl_->tcp.next_deadline());
}

std::optional<Event> Stack::poll_event() noexcept {
  if (impl_ == nullptr || impl_->events.empty()) return std::nullopt;
  while (std::optional<Event> event = impl_->events.pop()) {
    if (event->kind == Event::Kind::forward) return event;
    const bool tcp = event->socket.kind == SocketKind::tcp;
    event->bits = tcp ? impl_->tcp.report(event->socket) : impl_->datagrams.report(event->socket);
    if (event->bits != 0) return event;
  }
  return std::nullopt;
}

SocketResult<InterfaceId> Stack::add_interface(const InterfaceConfig& config,
                                               Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return impl_->ip.add_interface(config);
}

SocketResult<void> Stack::add_address(InterfaceId interface, const IpCidr& cidr,
                                      Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return impl_->ip.add_address(interface, cidr);
}

SocketResult<void> Stack::remove_address(InterfaceId interface, const IpAddress& address,
                                         Instant now) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  impl_->at(now);
  return impl_->ip.remove_address(interface, address);
}

SocketResult<void> Stack::add_route(const Route& route) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return impl_->ip.add_route(route);
}

SocketResult<void> Stack::remove_route(const IpCidr& destination) noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return impl_->ip.remove_route(destination);
}

void Stack::set_ip_forwarding(bool on) noexcept {
  if (impl_ != nullptr) impl_->ip.set_ip_forwarding(on);
}

void Stack::set_forwarding(InterfaceId interface, const ForwardPolicy& policy) noexcept {
  if (impl_ != nullptr) impl_->ip.set_forwarding(interface, policy);
}

bool Stack::is_local(const IpAddress& address) const noexcept {
  return impl_ != nullptr && impl_->ip.is_local(address);
}

SocketResult<IpAddress> Stack::source_for(const IpAddress& destination) const noexcept {
  if (impl_ == nullptr) return fail(SocketError::no_buffers);
  return impl_->ip.source_for(destination, kNoInterface);
}

const Counters& Stack::counters() const noexcept {
  return impl_ == nullptr ? kNoCounters : impl_->context.counters;
}

void Stack::set_tcp_config(const TcpConfig& config) noexcept {
  if (impl_ == nullptr) return;
  impl_->config.tcp = config;
  impl_->tcp.on_config();
}

const StackConfig& Stack::config() const noexcept {
  return impl_ == nullptr ? kNoConfig : impl_->config;
}

void Stack::set_trace(TraceRing* ring) noexcept {
  if (impl_ != nullptr) impl_->context.trace = ring;
}

}  // namespace tidewire
