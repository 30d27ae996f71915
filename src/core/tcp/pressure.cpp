// When memory runs out: what is given up, and in which order.
#include <algorithm>

#include "core/tcp/shared.hpp"

namespace tidewire::tcp {
namespace {

/// One search for out-of-order data ends once so much was freed.
constexpr std::size_t kEnough = 256 * 1024;
/// A search that found nothing is not repeated before this: what it costs must not be paid for each
/// segment.
constexpr Duration kSearchAgain = Duration::millis(10);

}  // namespace

bool Shared::shed(Shed step) noexcept {
  Instant& not_before = shed_not_before_[static_cast<std::size_t>(step)];
  if (now() < not_before) return false;
  // Records take nothing from the share of stream buffers: where that is used up they stay.
  const bool only_buffers = pool.limit() - pool.in_use() < chunk_bytes(ChunkSize::kib2);
  if (only_buffers && step >= Shed::half_open) return false;
  bool found = false;
  switch (step) {
    case Shed::out_of_order:
      found = shed_out_of_order();
      break;
    case Shed::excess:
      found = shed_excess();
      break;
    case Shed::half_open:
      found = shed_half_open();
      break;
    case Shed::time_wait:
      found = shed_time_wait();
      break;
    case Shed::count_:
      break;
  }
  if (!found) not_before = now() + kSearchAgain;
  return found;
}

//= RFC 2018 §8
/// Peers keep what was only reported until it is acknowledged, so they send it again. Goes on where
/// the last search ended, so that all connections have their turn.
bool Shared::shed_out_of_order() noexcept {
  std::size_t freed = 0;
  const std::uint32_t slots = connections.slots();
  for (std::uint32_t n = 0; n < slots && freed < kEnough; ++n) {
    shed_cursor_ = shed_cursor_ + 1 < slots ? shed_cursor_ + 1 : 0;
    Connection* c = connections.at_index(shed_cursor_);
    if (c == nullptr || c->active == nullptr || c->active->rcv_ring.islands().empty()) continue;
    freed += c->active->rcv_ring.shed_out_of_order();
    ++ctx.counters.tcp_shed_out_of_order;
  }
  pool.trim();
  return freed > 0;
}

/// Buffers that grew by themselves go back to the size they began with. What is in them stays; a
/// window that was promised is kept, but no longer refilled.
bool Shared::shed_excess() noexcept {
  bool found = pool.kept() > 0;
  pool.trim();
  connections.for_each([&](Connection& c) noexcept {
    if (c.active == nullptr) return;
    Active& a = *c.active;
    const std::size_t send = c.settings.send_buffer;
    const std::size_t receive = c.settings.receive_buffer;
    const bool send_grew = !c.settings.send_buffer_set && a.snd_ring.limit() > send;
    const bool receive_grew = !c.settings.receive_buffer_set && a.rcv_ring.limit() > receive;
    if (!send_grew && !receive_grew) return;
    if (send_grew) a.snd_ring.set_limit(send);
    if (receive_grew) a.rcv_ring.set_limit(receive);
    ++ctx.counters.tcp_shed_excess;
    found = true;
  });
  return found;
}

/// First those whose peer has not answered a SYN-ACK in time, then all. SYNs that wait for the
/// owner's word stay.
bool Shared::shed_half_open() noexcept {
  const std::uint32_t before = half_opens.size();
  for (const bool only_late : {true, false}) {
    half_opens.for_each([&](HalfOpen& h) noexcept {
      if (h.held || (only_late && h.retries == 0)) return;
      release(h);
      ++ctx.counters.tcp_shed_half_open;
    });
    if (half_opens.size() != before) break;
  }
  half_opens.trim();
  return half_opens.size() != before;
}

/// The half that has waited longest.
bool Shared::shed_time_wait() noexcept {
  const std::uint32_t gone = (time_waits.size() + 1) / 2;
  for (std::uint32_t i = 0; i < gone; ++i) {
    time_wait_release(*time_waits.at_index(time_wait_first));
    ++ctx.counters.tcp_shed_time_wait;
  }
  time_waits.trim();
  return gone > 0;
}

bool Shared::memory_short() const noexcept {
  const auto nearly = [](std::size_t used, std::size_t limit) noexcept {
    return used >= limit - limit / 8;
  };
  return nearly(pool.in_use(), pool.limit()) ||
         nearly(ctx.memory.in_use() - std::min(pool.kept(), ctx.memory.in_use()),
                ctx.memory.capacity());
}

}  // namespace tidewire::tcp
