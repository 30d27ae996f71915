// TCP Fast Open (RFC 7413): SYNs with data, and the answers to ours.
#include <algorithm>

#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

//= RFC 7413 §4.2.2, §5.1
Input::FastOpenChoice Input::judge_fast_open(const Connection& listener,
                                             const Segment& seg) noexcept {
  const auto& option = seg.options.fast_open;
  Counters& counters = s.ctx.counters;
  if (option && option->size == 0) ++counters.tcp_fast_open_requests;
  const std::uint32_t use = s.config().fast_open;
  if ((use & kFastOpenServer) == 0 || (!option && seg.text_len == 0)) return {};
  const Listener& l = *listener.listener;
  std::uint32_t most = listener.settings.fast_open_pending;
  if (most == 0 && (use & kFastOpenAllListeners) != 0) most = l.backlog;
  if (most == 0) return {};
  const std::uint32_t resets = s.now() < l.fast_open_reset_until ? l.fast_open_resets : 0;
  if (std::uint64_t{l.fast_open_pending} + resets >= most) {
    ++counters.tcp_fast_open_overflows;
    return {};
  }
  if ((use & kFastOpenServerNoCookie) != 0 || listener.settings.fast_open_no_cookie) {
    return {.accept = true};
  }
  if (!option) return {};
  FastOpenChoice choice{.give_cookie = true, .experimental = option->experimental};
  if (option->size == 0) return choice;
  switch (check_fast_open_cookie(s.keys_of(listener), seg.tuple, *option)) {
    case CookieVerdict::bad:
      ++counters.tcp_fast_open_passive_fails;
      break;
    case CookieVerdict::good:
      choice.accept = true;
      choice.give_cookie = false;
      break;
    case CookieVerdict::good_backup:
      choice.accept = true;
      break;
  }
  return choice;
}

//= RFC 7413 §4.2.2
/// The connection exists at once: what came with the SYN can be read, and answered.
bool Input::fast_open(Connection& listener, Segment& seg, const PeerSyn& syn,
                      const FastOpenChoice& choice) noexcept {
  Connection* c = make_passive(syn, listener.settings, listener.controller, false);
  if (c == nullptr) return false;
  inherit(*c, listener);
  if (!s.add_flow(*c)) {
    c->accept_by = kNoIndex;
    s.enter_closed(*c, SocketError::no_buffers);
    (void)s.reap(*c);
    return false;
  }
  ++s.ctx.counters.tcp_fast_open_passive;
  ++listener.listener->fast_open_pending;
  c->fast_open_by = s.connections.index_of(listener);
  c->fast_open_pending = c->connected = c->owe_syn = true;
  c->syn_ack_cookie = choice.give_cookie;
  c->syn_ack_exp = choice.experimental;
  c->stats.segs_in += seg.segs;
  seg.trim_front(1);
  const std::uint32_t window = c->rcv.window.usable(c->rcv.nxt);
  if (seg.text_len > window) seg.trim_back(seg.text_len - window);
  if (seg.text_len > 0) {
    const RecvRing::Written w = c->active->rcv_ring.write(seg.seq, seg.regions());
    c->rcv.nxt = c->active->rcv_ring.rcv_nxt();
    c->stats.bytes_received += w.advanced;
    ++c->stats.data_segs_in;
    c->stats.last_received = s.now();
    c->syn_data_acked = w.advanced > 0;
  }
  enqueue_accept(*c);
  s.mark_ready(*c);
  s.arm(*c, TimerKind::retransmit, s.now() + s.config().rto_initial);
  s.update_events(*c);
  return true;
}

//= RFC 7413 §4.2.1, §4.1.3.1
/// Our SYN carried data, the option or both, and this SYN-ACK is the answer: learns from it, and
/// hands over what it does not acknowledge. `c` has its buffers.
void Input::syn_text_answered(Connection& c, const Segment& seg) noexcept {
  const std::uint32_t sent = c.syn_text;
  const std::uint32_t acked = std::min(Seq::span(c.snd.iss + 1, seg.ack), sent);
  const bool had_text = sent > 0;
  FastOpen::Outcome outcome;
  outcome.mss = seg.options.mss.value_or(0);
  if (c.syn_fast_open) outcome.cookie = seg.options.fast_open;
  const bool given = outcome.cookie && outcome.cookie->size > 0;
  outcome.data_lost = c.syn_retransmitted && !given && had_text && acked == 0;
  if (c.syn_fast_open && !c.syn_retransmitted && !had_text && !given) {
    outcome.request_ignored = true;
    outcome.experimental = s.fast_open.find(c.tuple).cookie.experimental;
  }
  s.fast_open.learn(c.tuple, outcome);
  if (!had_text) return;
  if (acked == sent) {
    c.syn_data_acked = true;
    c.stats.bytes_acked += acked;
    ++s.ctx.counters.tcp_fast_open_active;
    return s.drop_syn_text(c);
  }
  c.fast_open_failure =
      c.syn_retransmitted ? FastOpenFailure::retransmitted : FastOpenFailure::not_acknowledged;
  ++s.ctx.counters.tcp_fast_open_active_fails;
  c.stats.bytes_acked += acked;
  keep_syn_text(c, acked);
  // The rest goes again at once; that it was not taken is no sign of congestion.
  if (c.active != nullptr) c.active->recovery.on_not_taken(s.now());
}

/// What the peer has not acknowledged of the SYN's text becomes the first of the stream, in flight
/// since the SYN.
void Input::keep_syn_text(Connection& c, std::uint32_t skip) noexcept {
  if (c.syn_ring == nullptr) return;
  c.syn_ring->release(skip);
  std::array<Bytes, 8> regions;
  LossRecovery& recovery = c.active->recovery;
  const bool recorded = recovery.reserve();
  while (recorded && !c.syn_ring->empty()) {
    const auto part = c.syn_ring->gather(0, c.syn_ring->size(), std::span{regions});
    std::size_t moved = 0;
    for (std::size_t i = 0; i < part.regions; ++i) moved += c.active->snd_ring.write(regions[i]);
    if (moved == 0) break;
    c.syn_ring->release(moved);
  }
  const auto size = static_cast<std::uint32_t>(c.active->snd_ring.size());
  if (size > 0) {
    recovery.on_sent({c.snd.nxt, c.snd.nxt + size}, Shared::eff_mss(c), c.retries_since);
    c.snd.nxt += size;
  }
  const bool lost = !c.syn_ring->empty();
  s.drop_syn_text(c);
  // The application was told that it is on its way.
  if (lost) s.reset_peer(c, SocketError::no_buffers);
}

}  // namespace tidewire::tcp
