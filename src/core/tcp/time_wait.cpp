// TIME-WAIT records: a FIFO, because every one waits equally long.
#include "core/tcp/shared.hpp"

namespace tidewire::tcp {
namespace {
constexpr std::uint32_t kNoPrev = 0x7fffffffU;
}

void Shared::time_wait_append(TimeWait& tw) noexcept {
  const std::uint32_t index = time_waits.index_of(tw);
  const Instant until = now() + config().msl * 2;
  // Rounded up: never early.
  tw.deadline_ms = static_cast<std::uint32_t>((until.nanos() + 999'999) / 1'000'000);
  tw.next = kNoIndex;
  tw.prev = time_wait_last == kNoIndex ? kNoPrev : (time_wait_last & kNoPrev);
  if (time_wait_last == kNoIndex) {
    time_wait_first = index;
  } else {
    time_waits.at_index(time_wait_last)->next = index;
  }
  time_wait_last = index;
}

void Shared::time_wait_unlink(TimeWait& tw) noexcept {
  const std::uint32_t prev = tw.prev == kNoPrev ? kNoIndex : tw.prev;
  if (prev == kNoIndex) {
    time_wait_first = tw.next;
  } else {
    time_waits.at_index(prev)->next = tw.next;
  }
  if (tw.next == kNoIndex) {
    time_wait_last = prev;
  } else {
    time_waits.at_index(tw.next)->prev = prev == kNoIndex ? kNoPrev : (prev & kNoPrev);
  }
}

void Shared::time_wait_release(TimeWait& tw) noexcept {
  time_wait_unlink(tw);
  flows.erase(hash_of(tw.tuple), {FlowKind::time_wait, time_waits.index_of(tw)});
  if (tw.bind != 0) ports.release(tw.bind);
  time_waits.release(tw);
}

Instant Shared::time_wait_deadline(const TimeWait& tw) const noexcept {
  const std::int64_t now_ms = now().nanos() / 1'000'000;
  const auto ahead = static_cast<std::int32_t>(tw.deadline_ms - static_cast<std::uint32_t>(now_ms));
  return Instant::from_nanos((now_ms + ahead) * 1'000'000);
}

//= RFC 9293 §3.10.7.4-11
void Shared::time_wait_restart(TimeWait& tw) noexcept {
  time_wait_unlink(tw);
  time_wait_append(tw);
}

//= RFC 9293 §3.6.1 MUST-13
void Shared::enter_time_wait_record(Connection& c) noexcept {
  // Memory is short or there are too many: the oldest has waited longest.
  TimeWait* tw = time_waits.acquire();
  if (tw == nullptr && time_wait_first != kNoIndex) {
    time_wait_release(*time_waits.at_index(time_wait_first));
    tw = time_waits.acquire();
  }
  if (tw != nullptr) {
    tw->tuple = c.tuple;
    tw->snd_nxt = c.snd.nxt;
    tw->rcv_nxt = c.rcv.nxt;
    tw->timestamps = c.timestamps_on ? 1 : 0;
    tw->ts_recent = c.timestamps.recent();
    tw->bind = c.bind != 0 ? ports.share(c.bind) : 0;
    flows.replace(hash_of(c.tuple), {FlowKind::connection, connections.index_of(c)},
                  {FlowKind::time_wait, time_waits.index_of(*tw)});
    c.in_table = false;
    time_wait_append(*tw);
  }
  enter_closed(c, SocketError::none);
}

}  // namespace tidewire::tcp
