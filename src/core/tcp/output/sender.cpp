#include "core/tcp/output/sender.hpp"

#include <algorithm>

namespace tidewire::tcp {
namespace {
/// What a flow may send before the next one has its turn.
constexpr std::uint32_t kQuantum = 64 * 1024;
/// Less than this is kept for the next turn: it would make a small frame after each large one.
constexpr std::uint32_t kLeast = kQuantum / 8;
}  // namespace

Transmit Sender::poll(TxBudget& budget) noexcept {
  if (s.ready.empty() && s.half_ready.empty() && s.half_waiting.empty()) return Transmit::idle;
  while (HalfOpen* h = s.half_ready.front()) {
    if (budget.frames == 0 || budget.bytes == 0) return Transmit::budget_spent;
    (void)serve_half_open(*h, budget);
  }
  while (budget.frames > 0 && budget.bytes > 0) {
    Connection* c = s.ready.pop();
    if (c == nullptr) {
      const bool blocked = s.ready.only_blocked() || !s.half_waiting.empty();
      return blocked ? Transmit::blocked : Transmit::idle;
    }
    serve(*c, budget);
  }
  return Transmit::budget_spent;
}

void Sender::serve(Connection& c, TxBudget& budget) noexcept {
  c.deficit = std::min(c.deficit + kQuantum, 2 * kQuantum);
  if (s.config().prediction && is_plain(c) && serve_plain(c, budget)) return;
  Step result = Step::nothing;
  while (budget.frames > 0 && budget.bytes > 0 && c.deficit >= kLeast) {
    left_ = c.deficit;
    spent_ = 0;
    result = has_no_data(c) ? step_without_data(c) : step(c);
    if (spent_ > 0) --budget.frames;  // also for the last word of a connection that is gone
    budget.bytes -= std::min<std::uint64_t>(budget.bytes, spent_);
    if (result != Step::sent) break;
    c.deficit -= static_cast<std::uint32_t>(std::min<std::uint64_t>(c.deficit, spent_));
  }
  if (result == Step::gone || result == Step::waits) return;
  if (result == Step::sent && !is_done(c)) return s.ready.add(c);  // its turn is over, not its data
  c.deficit = 0;
  if (c.state == TcpState::time_wait && !c.ack.owed_now()) s.enter_time_wait_record(c);
  if (!s.reap(c)) s.consider_rest(c);
}

/// True where a step would find nothing to send but perhaps an ACK: how nearly every turn ends,
/// seen at little cost.
bool Sender::has_no_data(Connection& c) noexcept {
  if (!is_synchronized(c.state) || c.active == nullptr) return false;
  if (c.owe_rst || c.owe_syn || c.owe_probe || c.owe_keepalive || c.owe_user_timeout) return false;
  if (!c.fin_sent && (c.fin_queued || c.snd.nxt != end_of_data(c))) return false;
  const Active& a = *c.active;
  if (a.paced || a.recovery.has_to_repair()) return false;
  if (c.state != TcpState::fin_wait_2 && c.state != TcpState::time_wait) {
    note_if_app_limited(c, room_for(c));
  }
  return true;
}

Sender::Step Sender::step_without_data(Connection& c) noexcept {
  if (!c.ack.owed_now()) return Step::nothing;
  return s.out.blocked(c.path) ? step(c) : send_ack(c);
}

Sender::Step Sender::step(Connection& c) noexcept {
  if (c.owe_rst) return send_rst(c);
  if (c.state == TcpState::closed || c.state == TcpState::listen) return Step::nothing;
  if (s.out.blocked(c.path)) {
    s.ready.block(c.path.interface);
    s.ready.add(c);
    return Step::waits;
  }
  if (c.owe_syn) return send_syn(c);
  if (c.state == TcpState::syn_sent) return Step::nothing;
  const bool reports = c.active != nullptr && c.active->dsack_count > 0 && c.ack.owed_now();
  if (c.ack.owed_copies() || reports || c.owe_user_timeout) return send_ack(c);
  if ((c.syn_acked || c.fast_open_pending) && c.active != nullptr) {
    if (const Step r = send_data(c); r != Step::nothing) return r;
  }
  if (c.ack.owed_now()) return send_ack(c);
  if (c.owe_probe || c.owe_keepalive) return send_probe(c);
  return Step::nothing;
}

void Sender::on_writable(InterfaceId interface) noexcept {
  s.ready.unblock(interface);
  s.half_ready.splice_back(s.half_waiting);
}

void Sender::on_neighbor_resolved(InterfaceId interface) noexcept {
  s.ready.unpark(interface);
  s.half_ready.splice_back(s.half_waiting);
}

/// Parked flows try again: the ones behind this neighbor learn from send() that it does not answer.
void Sender::on_neighbor_failed(InterfaceId interface, const IpAddress&) noexcept {
  on_neighbor_resolved(interface);
}

void Sender::on_path_change() noexcept {
  s.connections.for_each([this](Connection& c) noexcept {
    if (!is_synchronized(c.state)) return;
    (void)s.refresh_mss(c);
  });
  s.ready.for_each_parked([this](Connection& c) noexcept {
    ReadyQueue::remove(c);
    s.ready.add(c);
  });
}

}  // namespace tidewire::tcp
