// Segments for SYN-RECEIVED and the synchronized states, step by step.
#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

//= RFC 9293 §3.10.7.4
void Input::synchronized_arrives(Connection& c, Segment& seg) noexcept {
  if (c.state == TcpState::closed) {
    // Our RST is still on its way out.
    return s.drop(DropReason::tcp_after_close, seg);
  }
  if (check_sequence(c, seg) == Verdict::done) return;
  if (check_rst(c, seg) == Verdict::done) return;
  if (check_syn(c, seg) == Verdict::done) return;
  if (check_ack(c, seg) == Verdict::done) return;
  c.last_received = s.now();
  c.probes = 0;
  if (c.ecn.on()) [[unlikely]]
    take_marks(c, seg);
  if (c.settings.user_timeout_option) [[unlikely]]
    take_user_timeout(c, seg);
  if (process_ack(c, seg) == Verdict::done) return;
  process_urgent(c, seg);
  if (process_text(c, seg) == Verdict::done) return;
  process_fin(c, seg);
}

//= RFC 9293 §3.10.7.4 First
Verdict Input::check_sequence(Connection& c, Segment& seg) noexcept {
  if (c.state == TcpState::syn_received && seg.has(TcpFlag::syn) && seg.seq == c.rcv.irs) {
    //= RFC 9293 §3.5 figure 8
    // Simultaneous open: the peer's SYN comes again, with an ACK. A bare SYN means that it has not
    // seen our SYN-ACK.
    if (!seg.has(TcpFlag::ack)) {
      c.owe_syn = true;
      s.mark_ready(c);
      return Verdict::done;
    }
    seg.trim_front(1);
    // As Linux: should our SYN-ACK be lost, this serves the peer instead.
    if (c.sack_on && c.active != nullptr) remember_duplicate(c, {c.rcv.irs, c.rcv.irs + 1});
    owe_ack(c);
  }
  if (check_timestamps(c, seg) == Verdict::done) return Verdict::done;
  const std::uint32_t wnd = c.rcv.window.usable(c.rcv.nxt);
  const Seq nxt = c.rcv.nxt;
  const std::uint32_t len = seg.len();
  bool acceptable = false;
  if (len == 0) {
    // The right edge itself counts: there stands the next sequence number of a sender that has
    // used up the window, and its ACKs carry it.
    acceptable = Seq::span(nxt, seg.seq) <= wnd;
  } else if (wnd == 0) {
    //= RFC 9293 §3.10.7.4 MUST-66
    // No text fits, but ACK, URG and RST count.
    acceptable = seg.seq == nxt;
  } else {
    acceptable = seg.seq.in_window(nxt, wnd) || (seg.end() - 1).in_window(nxt, wnd);
  }
  if (!acceptable) {
    unacceptable(c, seg);
    return Verdict::done;
  }
  if (c.timestamps_on && seg.options.timestamps) {
    const bool gap = c.active != nullptr && !c.active->rcv_ring.islands().empty();
    c.timestamps.on_segment(seg.options.timestamps->value, seg.seq, c.rcv.last_ack_sent, gap,
                            s.now());
  }
  // What lies beyond the window is cut off; it will come again.
  const Seq edge = nxt + wnd;
  if (seg.end().after(edge)) {
    const std::uint32_t beyond = Seq::span(edge, seg.end());
    seg.trim_back(beyond);
    if (wnd == 0) {
      s.drop(DropReason::tcp_out_of_window, seg);
      owe_ack(c);
    }
  }
  return Verdict::go_on;
}

//= RFC 7323 §5.3, §3.2
Verdict Input::check_timestamps(Connection& c, const Segment& seg) noexcept {
  if (!c.timestamps_on || seg.has(TcpFlag::rst)) return Verdict::go_on;
  if (!seg.options.timestamps) {
    if (!s.config().timestamps_required) return Verdict::go_on;
    s.drop(DropReason::tcp_paws, seg);
    return Verdict::done;
  }
  if (!c.timestamps.paws_reject(seg.options.timestamps->value, s.now())) return Verdict::go_on;
  s.drop(DropReason::tcp_paws, seg);
  if (seg.len() > 0) {
    note_if_duplicate(c, seg);  // a retransmission may be stamped a little before it left
    owe_ack(c);
  } else {
    challenge_ack(c, DropReason::none, seg);
  }
  return Verdict::done;
}

void Input::unacceptable(Connection& c, const Segment& seg) noexcept {
  if (seg.has(TcpFlag::rst)) return s.drop(DropReason::tcp_bad_reset, seg);
  //= RFC 5961 §4.2
  if (seg.has(TcpFlag::syn)) return challenge_ack(c, DropReason::tcp_syn_in_window, seg);
  if (note_if_duplicate(c, seg)) {
    s.drop(DropReason::tcp_duplicate, seg);
    return owe_ack(c);
  }
  if (seg.len() > 0) {
    s.drop(DropReason::tcp_out_of_window, seg);
    return owe_ack(c);
  }
  // Without text it may be an answer to an ACK of ours: two confused ends must not ping-pong.
  challenge_ack(c, DropReason::tcp_out_of_window, seg);
}

//= RFC 2883 §4
/// True if all of the segment's text was received before; the next ACK reports it.
bool Input::note_if_duplicate(Connection& c, const Segment& seg) noexcept {
  if (seg.text_len == 0 || seg.end().after(c.rcv.nxt)) return false;
  if (c.sack_on && c.active != nullptr) remember_duplicate(c, {seg.seq, seg.seq + seg.text_len});
  return true;
}

void Input::remember_duplicate(Connection& c, SeqRange range) noexcept {
  Active& a = *c.active;
  if (a.dsack_count == a.dsacks.size()) return;
  a.dsacks[a.dsack_count++] = range;
}

//= RFC 9293 §3.10.7.4 Second; RFC 5961 §3.2
Verdict Input::check_rst(Connection& c, const Segment& seg) noexcept {
  if (!seg.has(TcpFlag::rst)) return Verdict::go_on;
  if (seg.seq != c.rcv.nxt) {
    challenge_ack(c, DropReason::tcp_bad_reset, seg);
    return Verdict::done;
  }
  using enum TcpState;
  switch (c.state) {
    case syn_received:
      s.enter_closed(c,
                     c.passive ? SocketError::connection_reset : SocketError::connection_refused);
      break;
    case closing:
    case last_ack:
    case time_wait:
      s.enter_closed(c, SocketError::none);
      break;
    case close_wait:
      // As Linux: the peer had closed in order before it reset.
      s.enter_closed(c, SocketError::broken_pipe);
      break;
    default:
      s.enter_closed(c, SocketError::connection_reset);
      break;
  }
  return Verdict::done;
}

//= RFC 9293 §3.10.7.4 Fourth; RFC 5961 §4.2
Verdict Input::check_syn(Connection& c, const Segment& seg) noexcept {
  if (!seg.has(TcpFlag::syn)) return Verdict::go_on;
  if (c.state == TcpState::syn_received && c.passive) {
    s.drop(DropReason::tcp_syn_in_window, seg);
    s.enter_closed(c, SocketError::connection_reset);
    return Verdict::done;
  }
  challenge_ack(c, DropReason::tcp_syn_in_window, seg);
  return Verdict::done;
}

//= RFC 9293 §3.10.7.4 Fifth; RFC 5961 §5.2
Verdict Input::check_ack(Connection& c, Segment& seg) noexcept {
  if (!seg.has(TcpFlag::ack)) {
    s.drop(DropReason::tcp_no_ack, seg);
    return Verdict::done;
  }
  if (c.state == TcpState::syn_received) {
    if (!(seg.ack.after(c.snd.una) && seg.ack.at_or_before(c.snd.nxt))) {
      s.drop(DropReason::tcp_bad_ack, seg);
      reply_reset(seg);
      return Verdict::done;
    }
    c.snd.una = c.snd.iss + 1;
    c.snd.wl1 = seg.seq;
    c.snd.wl2 = seg.ack;
    c.snd.wnd = (WireWindow{seg.window} << c.snd.scale).bytes();
    c.snd.max_wnd = std::max(c.snd.max_wnd, c.snd.wnd);
    // The time stamp of a cookie is not when it was sent.
    if (!c.rtt.has_sample() && c.timestamps_on && seg.options.timestamps && !c.from_cookie) {
      if (const auto rtt = c.timestamps.round_trip(seg.options.timestamps->echo, s.now())) {
        c.rtt.on_sample(*rtt, s.now());
      }
    } else if (!c.rtt.has_sample() && c.fast_open_pending && !c.syn_retransmitted) {
      c.rtt.on_sample(s.now() - c.retries_since, s.now());
    }
    // Text went with a SYN that crossed the peer's, which has not taken (all of) it.
    if (!c.passive && seg.ack != c.snd.nxt && c.active != nullptr) {
      c.active->recovery.on_not_taken(s.now());
    }
    if (c.ecn.on()) c.ecn.on_third_ack(seg.flags, seg.len() == 0 && seg.options.sack.empty());
    establish(c);
    return Verdict::go_on;
  }
  if (seg.ack.after(c.snd.nxt)) {
    challenge_ack(c, DropReason::tcp_bad_ack, seg);
    return Verdict::done;
  }
  if (seg.ack.before(c.snd.una - c.snd.max_wnd)) {
    challenge_ack(c, DropReason::tcp_bad_ack, seg);
    return Verdict::done;
  }
  return Verdict::go_on;
}

//= RFC 5961 §7
void Input::challenge_ack(Connection& c, DropReason why, const Segment& seg) noexcept {
  if (why != DropReason::none) s.drop(why, seg);
  if (s.now() - c.challenge_second >= Duration::seconds(1)) {
    c.challenge_second = s.now();
    c.challenges = static_cast<std::uint8_t>(
        std::min<std::uint32_t>(s.config().challenge_ack_per_second, 255));
  }
  if (c.challenges == 0) return s.drop(DropReason::tcp_challenge_limited, seg);
  --c.challenges;
  ++s.ctx.counters.tcp_challenge_acks;
  owe_ack(c);
}

}  // namespace tidewire::tcp
