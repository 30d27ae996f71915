// Releasing records, and what a socket's conditions are.
#include "core/tcp/shared.hpp"

namespace tidewire::tcp {

void Shared::release(HalfOpen& h) noexcept {
  wheel.cancel(h.timer);
  h.unlink();
  if (h.in_table) {
    flows.erase(hash_of(h.tuple), {FlowKind::half_open, half_opens.index_of(h)});
  }
  if (h.held) {
    --held_flows;
  } else if (h.listener != kNoIndex) {
    Listener& l = *connections.at_index(h.listener)->listener;
    --l.half_open;
    if (h.retries == 0) --l.young;
  }
  half_opens.release(h);
}

//= RFC 7413 §5.1
/// A reset does not free the place at once: with a stolen cookie an attacker could have victims
/// answer for it as fast as it can send.
void Shared::fast_open_over(Connection& c, bool reset) noexcept {
  c.fast_open_pending = false;
  if (c.fast_open_by == kNoIndex) return;
  Listener& l = *connections.at_index(c.fast_open_by)->listener;
  c.fast_open_by = kNoIndex;
  --l.fast_open_pending;
  if (!reset) return;
  if (l.fast_open_reset_until <= now()) l.fast_open_resets = 0;
  ++l.fast_open_resets;
  l.fast_open_reset_until = now() + Duration::seconds(60);  // as Linux
}

void Shared::stray_over(Connection& c) noexcept {
  if (!c.stray) return;
  c.stray = false;
  --connections.at_index(c.accept_by)->listener->strays;
}

void Shared::drop_syn_text(Connection& c) noexcept {
  if (c.syn_ring == nullptr) return;
  syn_rings.release(*c.syn_ring);
  c.syn_ring = nullptr;
}

void Shared::arm_orphan(Connection& c) noexcept {
  const Duration wait = c.settings.linger2_ms >= 0 ? Duration::millis(c.settings.linger2_ms)
                                                   : config().fin_wait_2_timeout;
  arm(c, TimerKind::linger, now() + wait);
}

std::uint16_t Shared::unusual_bits(const Connection& c) const noexcept {
  if (c.state == TcpState::listen) return c.listener->first != kNoIndex ? kReadable : 0;
  unsigned bits = 0;
  const bool over = c.state == TcpState::closed;
  if (c.connected) bits |= kConnected;
  if (c.syn_deferred) bits |= kWritable;
  if (c.fin_received) bits |= kPeerClosed | kReadable;
  if (c.read_shut) bits |= kReadable;
  if (c.error != SocketError::none) bits |= kError | kReadable | kWritable;
  if (over && (c.connected || c.error != SocketError::none)) {
    bits |= kClosed | kReadable | kWritable;
  }
  if (c.error_info != nullptr) bits |= kErrorQueue | kError;
  if (c.urgent_in && !c.urgent_taken) bits |= kUrgent;
  if (c.connected && c.fin_queued) bits |= kWritable;  // a write fails at once
  if (c.active == nullptr) {
    if (c.connected && may_send(c.state)) bits |= kWritable;  // idle: nothing fills the buffer
    return static_cast<std::uint16_t>(bits);
  }
  if (c.connected) bits |= stream_bits(c);
  return static_cast<std::uint16_t>(bits);
}

void Shared::keep_error_info(Connection& c, const ip::IcmpError& error, SocketError kind) noexcept {
  // One is kept: the newest says what the path is like now.
  if (c.error_info == nullptr) c.error_info = error_infos.acquire();
  if (c.error_info == nullptr) return;
  *c.error_info = {.error = kind,
                   .icmp_type = error.type,
                   .icmp_code = error.code,
                   .info = error.next_hop_mtu,
                   .offender = error.offender,
                   .destination = {error.destination, c.tuple.remote_port, 0}};
}

std::optional<SocketErrorInfo> Shared::take_error_info(Connection& c) noexcept {
  if (c.error_info == nullptr) return std::nullopt;
  const SocketErrorInfo info = *c.error_info;
  error_infos.release(*c.error_info);
  c.error_info = nullptr;
  update_events(c);
  return info;
}

void Shared::clear() noexcept {
  half_opens.for_each([this](HalfOpen& h) noexcept {
    wheel.cancel(h.timer);
    h.unlink();
  });
  idles.for_each([this](IdleConnection& idle) noexcept { wheel.cancel(idle.timer); });
  connections.for_each([](Connection& c) noexcept { c.fast_open_by = kNoIndex; });
  connections.for_each([this](Connection& c) noexcept { release_connection(c); });
}

}  // namespace tidewire::tcp
