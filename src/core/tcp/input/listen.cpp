// LISTEN, SYN-RECEIVED reached from it, and the way to the accept queue.
#include <algorithm>

#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

namespace {

std::uint32_t initial_window(const Settings& settings) noexcept {
  return std::min({settings.receive_buffer, settings.window_clamp, std::uint32_t{0xffff}});
}

PeerSyn read_syn(const Segment& seg, EcnUse ecn) noexcept {
  PeerSyn syn;
  syn.set_ecn(ecn_offer(ecn, seg.flags, wire::ecn_of(seg.tos)));
  syn.tuple = seg.tuple;
  syn.irs = seg.seq;
  syn.window = seg.window;
  syn.interface = seg.interface;
  syn.mss = seg.options.mss.value_or(0);
  syn.has_mss = seg.options.mss.has_value();
  syn.shift = seg.options.window_scale.value_or(0);
  syn.has_shift = seg.options.window_scale.has_value();
  syn.sack = seg.options.sack_permitted;
  syn.timestamps = seg.options.timestamps.has_value();
  if (syn.timestamps) syn.tsval = seg.options.timestamps->value;
  return syn;
}

}  // namespace

//= RFC 9293 §3.10.7.2
void Input::listen_arrives(Connection& listener, Segment& seg,
                           std::optional<Seq> isn_floor) noexcept {
  if (seg.has(TcpFlag::rst)) return s.drop(DropReason::tcp_no_socket, seg);
  if (seg.has(TcpFlag::ack)) {
    if (cookie_arrives(listener, seg) == Verdict::done) return;
    s.drop(DropReason::tcp_bad_ack, seg);
    return reply_reset(seg);
  }
  if (!seg.has(TcpFlag::syn) || seg.has(TcpFlag::fin)) {
    return s.drop(DropReason::tcp_bad_flags, seg);
  }
  //= RFC 9293 §3.9.2.3 MUST-63
  const IpAddress remote = seg.tuple.remote_address();
  if (remote.is_multicast() || remote.is_unspecified() || s.out.is_broadcast(remote)) {
    return s.drop(DropReason::tcp_broadcast, seg);
  }
  Listener& l = *listener.listener;
  // As Linux: whose tuple was in TIME-WAIT is a real peer, and the backlog does not count for it.
  const bool full = l.half_open >= s.config().half_open_max ||
                    (l.half_open > l.backlog && !isn_floor.has_value());
  const SynCookieUse use = s.config().syn_cookies;
  const bool cookie =
      !isn_floor && (use == SynCookieUse::always || (full && use == SynCookieUse::when_full));
  if (full && !cookie) return s.drop(DropReason::tcp_backlog_full, seg);
  if (l.ready > l.backlog) return s.drop(DropReason::tcp_accept_full, seg);
  if (cookie) return answer_with_cookie(listener, seg);
  const FastOpenChoice choice = judge_fast_open(listener, seg);
  if (choice.accept) {
    PeerSyn syn = read_syn(seg, s.config().ecn);
    syn.iss = choose_iss(seg.tuple, isn_floor);
    if (fast_open(listener, seg, syn, choice)) return;
    ++s.ctx.counters.tcp_fast_open_passive_fails;
  }
  HalfOpen* h = make_half_open(seg, isn_floor);
  if (h == nullptr) return s.drop(DropReason::no_memory, seg);
  h->cookie = choice.give_cookie;
  h->exp = choice.experimental;
  h->listener = s.connections.index_of(listener);
  ++l.half_open;
  ++l.young;
  s.mark_ready(*h);
  s.wheel.schedule(h->timer, s.now() + s.config().rto_initial);
}

//= RFC 4987 §3.6
/// Nothing is kept of this SYN. Without timestamps there is no place to keep its other options.
void Input::answer_with_cookie(Connection& listener, const Segment& seg) noexcept {
  PeerSyn syn = read_syn(seg, s.config().ecn);
  // A cookie has one bit for ECN: who asked for accurate feedback gets the older kind.
  if (syn.ecn().mode == EcnMode::accurate) syn.set_ecn({EcnMode::classic});
  const std::uint16_t fallback = seg.tuple.is_v4() ? 536 : 1220;
  syn.iss = s.syn_cookies.make(seg.tuple, seg.seq, syn.has_mss ? syn.mss : fallback, s.now());
  if (!syn.timestamps || !s.config().timestamps) {
    syn.has_shift = syn.sack = false;
    syn.set_ecn({});
  }
  wire::TcpRepr repr = s.syn_ack(syn, listener.settings);
  if (repr.options.timestamps) {
    CookieOptions kept;
    if (repr.options.window_scale) kept.window_shift = syn.shift;
    kept.sack = repr.options.sack_permitted;
    kept.ecn = syn.ecn().mode == EcnMode::classic;
    const std::uint32_t offset = s.timestamp_offset(seg.tuple);
    std::uint32_t& stamp = repr.options.timestamps->value;
    stamp = offset + hide_options(stamp - offset, kept);
  }
  listener.listener->cookies_until = s.now() + SynCookies::kValid;
  ++s.ctx.counters.tcp_cookies_sent;
  reply(seg.tuple, repr);
}

/// An ACK for no record: perhaps it brings a cookie back.
Verdict Input::cookie_arrives(Connection& listener, Segment& seg) noexcept {
  Listener& l = *listener.listener;
  if (seg.has(TcpFlag::syn) || s.config().syn_cookies == SynCookieUse::never ||
      l.cookies_until <= s.now()) {
    return Verdict::go_on;
  }
  PeerSyn syn;
  syn.tuple = seg.tuple;
  syn.iss = seg.ack - 1;
  syn.irs = seg.seq - 1;
  const auto mss = s.syn_cookies.check(syn.tuple, syn.irs, syn.iss, s.now());
  if (!mss) {
    ++s.ctx.counters.tcp_cookies_failed;
    return Verdict::go_on;
  }
  ++s.ctx.counters.tcp_cookies_received;
  // As Linux: nothing is told; what the peer sends next finds no record and is answered with a RST.
  if (l.ready > l.backlog) return s.drop(DropReason::tcp_accept_full, seg), Verdict::done;
  syn.window = seg.window;
  syn.mss = *mss;
  syn.has_mss = true;
  syn.interface = seg.interface;
  syn.timestamps = seg.options.timestamps.has_value() && seg.options.timestamps->echo != 0;
  if (syn.timestamps) {
    const CookieOptions kept =
        found_options(seg.options.timestamps->echo - s.timestamp_offset(seg.tuple));
    syn.tsval = seg.options.timestamps->value;
    syn.has_shift = kept.window_shift.has_value();
    syn.shift = kept.window_shift.value_or(0);
    syn.sack = kept.sack;
    if (kept.ecn && s.config().ecn != EcnUse::never) syn.set_ecn({EcnMode::classic});
  }
  Connection* c = make_passive(syn, listener.settings, listener.controller, false);
  if (c == nullptr) return s.drop(DropReason::no_memory, seg), Verdict::done;
  c->syn_sent_once = c->from_cookie = true;
  inherit(*c, listener);
  if (!s.add_flow(*c)) {
    s.drop(DropReason::no_memory, seg);
    c->accept_by = kNoIndex;
    s.enter_closed(*c, SocketError::no_buffers);
    return (void)s.reap(*c), Verdict::done;
  }
  acknowledged(*c, seg);
  return Verdict::done;
}

Seq Input::choose_iss(const Tuple& tuple, std::optional<Seq> isn_floor) const noexcept {
  const Seq iss = s.make_isn(tuple);
  //= RFC 6191 §2
  // The sequence numbers of the connection that was in TIME-WAIT lie behind the new ones.
  return isn_floor && !iss.after(*isn_floor) ? *isn_floor : iss;
}

HalfOpen* Input::make_half_open(const Segment& seg, std::optional<Seq> isn_floor) noexcept {
  HalfOpen* h = s.half_opens.acquire();
  if (h == nullptr) return nullptr;
  static_cast<PeerSyn&>(*h) = read_syn(seg, s.config().ecn);
  h->iss = choose_iss(seg.tuple, isn_floor);
  if (!s.flows.insert(s.hash_of(h->tuple), {FlowKind::half_open, s.half_opens.index_of(*h)})) {
    s.half_opens.release(*h);
    return nullptr;
  }
  return h;
}

void Input::hold_for_owner(const Segment& seg, std::optional<Seq> isn_floor) noexcept {
  if (s.held_flows >= s.ctx.config.flows_pending_max) return s.drop(DropReason::flow_limit, seg);
  HalfOpen* h = make_half_open(seg, isn_floor);
  if (h == nullptr) return s.drop(DropReason::no_memory, seg);
  h->held = true;
  ++s.held_flows;
  const SlabHandle handle = s.half_opens.handle_of(*h);
  Event event;
  event.kind = Event::Kind::forward;
  event.flow = {Protocol::tcp, handle.index, handle.generation};
  event.tuple = {Protocol::tcp,
                 {seg.tuple.local_address(), seg.tuple.local_port, 0},
                 {seg.tuple.remote_address(), seg.tuple.remote_port, 0}};
  event.interface = seg.interface;
  s.ctx.events.push_forward(event);
  // An owner that never decides must not hold the record for ever.
  s.wheel.schedule(h->timer, s.now() + Shared::kHeldFlowTime);
}

void Input::half_open_arrives(HalfOpen& h, Segment& seg) noexcept {
  if (h.held) {
    // Retransmissions of the SYN are absorbed; a RST takes the question back.
    if (seg.has(TcpFlag::rst) && seg.seq == h.irs + 1) s.release(h);
    return s.drop(DropReason::tcp_duplicate, seg);
  }
  if (half_open_checks(h, seg) == Verdict::go_on) half_open_acknowledged(h, seg);
}

//= RFC 9293 §3.10.7.4, SYN-RECEIVED
Verdict Input::half_open_checks(HalfOpen& h, Segment& seg) noexcept {
  const Seq rcv_nxt = h.irs + 1;
  const bool rst = seg.has(TcpFlag::rst);
  if (seg.has(TcpFlag::syn) && !rst && !seg.has(TcpFlag::ack) && seg.seq == h.irs) {
    // The peer has not seen our SYN-ACK.
    if (seg.options.timestamps) h.tsval = seg.options.timestamps->value;
    s.drop(DropReason::tcp_duplicate, seg);
    s.mark_ready(h);
    return Verdict::done;
  }
  //= RFC 7323 §3.2
  if (!rst && h.timestamps && s.config().timestamps && s.config().timestamps_required &&
      !seg.options.timestamps) {
    s.drop(DropReason::tcp_paws, seg);
    return Verdict::done;
  }
  // What the SYN-ACK offers.
  const Settings& settings = s.connections.at_index(h.listener)->settings;
  const std::uint32_t window =
      std::min({settings.receive_buffer, settings.window_clamp, std::uint32_t{0xffff}});
  const bool acceptable = seg.seq.in_window(rcv_nxt, window) ||
                          (seg.len() > 0 && (seg.end() - 1).in_window(rcv_nxt, window));
  const bool stale = !rst && h.timestamps && seg.options.timestamps &&
                     Seq{seg.options.timestamps->value}.before(Seq{h.tsval});
  if (!acceptable || stale) {
    s.drop(stale ? DropReason::tcp_paws : DropReason::tcp_out_of_window, seg);
    // What has no length may itself be an answer: two confused ends must not ping-pong.
    if (!rst && seg.len() > 0) reply_half_open_ack(h);
    return Verdict::done;
  }
  if (rst) {
    //= RFC 5961 §3.2
    if (seg.seq != rcv_nxt) {
      s.drop(DropReason::tcp_bad_reset, seg);
      reply_half_open_ack(h);
      return Verdict::done;
    }
    ++s.ctx.counters.tcp_attempt_fails;
    s.release(h);  // back to LISTEN
    return Verdict::done;
  }
  if (seg.has(TcpFlag::syn)) {
    s.drop(DropReason::tcp_syn_in_window, seg);
    s.release(h);  // back to LISTEN
    return Verdict::done;
  }
  if (!seg.has(TcpFlag::ack)) {
    s.drop(DropReason::tcp_no_ack, seg);
    return Verdict::done;
  }
  if (seg.ack != h.iss + 1) {
    s.drop(DropReason::tcp_bad_ack, seg);
    reply_reset(seg);
    return Verdict::done;
  }
  return Verdict::go_on;
}

void Input::half_open_acknowledged(HalfOpen& h, Segment& seg) noexcept {
  Connection& listener = *s.connections.at_index(h.listener);
  Listener& l = *listener.listener;
  // As Linux: with a full queue the ACK is ignored, so that the SYN-ACK is sent again later.
  // As Linux: until SYN-ACKs have been timed out for so long an ACK alone makes no connection.
  if (h.retries < listener.settings.defer_accept && seg.text_len == 0 && !seg.has(TcpFlag::fin)) {
    h.acked = true;
    ++s.ctx.counters.tcp_defer_accept_drops;
    return;
  }
  if (l.ready > l.backlog) {
    s.drop(DropReason::tcp_accept_full, seg);
    h.acked = true;
    if (!s.config().abort_on_overflow) return;
    reply_reset(seg);
    return s.release(h);
  }
  Connection* c = promote(h, listener.settings, listener.controller);
  if (c == nullptr) return s.drop(DropReason::no_memory, seg);
  inherit(*c, listener);
  acknowledged(*c, seg);
}

void Input::inherit(Connection& c, const Connection& listener) noexcept {
  c.accept_by = s.connections.index_of(listener);
  c.family_v6 = listener.family_v6;
  c.bind = s.ports.share(listener.bind);
}

/// The ACK of our SYN-ACK takes the steps of any segment.
void Input::acknowledged(Connection& c, Segment& seg) noexcept {
  c.stats.segs_in += seg.segs;
  synchronized_arrives(c, seg);
  if (c.state == TcpState::syn_received) {
    // The full checks did not like the ACK: the SYN-ACK goes on being sent.
    c.stray = true;
    ++s.connections.at_index(c.accept_by)->listener->strays;
    s.arm(c, TimerKind::retransmit, s.now() + s.config().rto_initial);
  }
  settle(c);
}

Connection* Input::make_passive(const PeerSyn& syn, const Settings& settings,
                                std::string_view controller, bool retransmitted,
                                std::optional<Duration> round_trip) noexcept {
  Connection* c = s.make_connection();
  if (c == nullptr) return nullptr;
  c->settings = settings;
  c->settings.fast_open_pending = 0;
  c->settings.fast_open_no_cookie = c->settings.fast_open_connect = false;
  c->tuple = syn.tuple;
  c->passive = true;
  c->snd.iss = c->snd.una = syn.iss;
  c->snd.nxt = syn.iss + 1;
  c->snd.wnd = c->snd.max_wnd = syn.window;
  c->snd.wl1 = syn.irs;
  c->rcv.irs = syn.irs;
  c->rcv.nxt = c->rcv.last_ack_sent = syn.irs + 1;
  c->rcv.window = ReceiveWindow{c->rcv.nxt};
  (void)c->rcv.window.advertise(c->rcv.nxt, Window{initial_window(settings)}, WindowScale{});
  c->syn_retransmitted = retransmitted;
  c->ecn.accept(syn.ecn());
  c->last_received = s.now();
  c->path.interface = syn.interface;
  c->controller = controller;
  SynOptions theirs;
  if (syn.has_mss) theirs.mss = syn.mss;
  if (syn.has_shift) theirs.window_shift = syn.shift;
  theirs.sack_permitted = syn.sack;
  if (syn.timestamps) theirs.tsval = syn.tsval;
  s.apply_options(*c, theirs);
  if (round_trip) c->rtt.on_sample(*round_trip, s.now());
  if (!s.attach_active(*c)) {
    s.entries.release(*s.entries.get(c->entry));
    s.release_connection(*c);
    return nullptr;
  }
  s.set_state(*c, TcpState::syn_received);
  return c;
}

Connection* Input::promote(HalfOpen& h, const Settings& settings,
                           std::string_view controller) noexcept {
  std::optional<Duration> round_trip;
  if (h.retries == 0 && h.sent && h.sent_at <= s.now()) round_trip = s.now() - h.sent_at;
  Connection* c = make_passive(h, settings, controller, h.retries > 0, round_trip);
  if (c == nullptr) return nullptr;
  c->syn_sent_once = h.sent;
  s.flows.replace(s.hash_of(h.tuple), {FlowKind::half_open, s.half_opens.index_of(h)},
                  {FlowKind::connection, s.connections.index_of(*c)});
  c->in_table = true;
  h.in_table = false;
  s.release(h);
  return c;
}

void Input::enqueue_accept(Connection& c) noexcept {
  Connection& listener = *s.connections.at_index(c.accept_by);
  Listener& l = *listener.listener;
  const std::uint32_t index = s.connections.index_of(c);
  if (l.last == kNoIndex) {
    l.first = index;
  } else {
    s.connections.at_index(l.last)->accept_next = index;
  }
  l.last = index;
  ++l.ready;
  s.update_events(listener);
}

void Input::reply_half_open_ack(const HalfOpen& h) noexcept {
  std::optional<wire::TcpTimestamps> timestamps;
  if (h.timestamps && s.config().timestamps) {
    timestamps = {Timestamps{s.timestamp_offset(h.tuple)}.value(s.now()), h.tsval};
  }
  // Only a SYN carries its window unscaled (RFC 7323 §2.2).
  const Settings& settings = s.connections.at_index(h.listener)->settings;
  const OptionPolicy policy = s.option_policy(h.tuple, settings);
  const std::uint32_t window =
      std::min({settings.receive_buffer, settings.window_clamp, std::uint32_t{0xffff}});
  const std::uint8_t shift =
      policy.window_scaling && h.has_shift ? policy.window_scale.shift() : std::uint8_t{0};
  reply_ack(h.tuple, h.iss + 1, h.irs + 1, static_cast<std::uint16_t>(window >> shift), timestamps);
}

void Input::reply_ack(const Tuple& tuple, Seq seq, Seq ack, std::uint16_t window,
                      const std::optional<wire::TcpTimestamps>& timestamps) noexcept {
  wire::TcpRepr repr;
  repr.source_port = tuple.local_port;
  repr.destination_port = tuple.remote_port;
  repr.seq = seq;
  repr.ack = ack;
  repr.flags = TcpFlag::ack;
  repr.window = window;
  repr.options.timestamps = timestamps;
  reply(tuple, repr);
}

void Input::reply(const Tuple& tuple, const wire::TcpRepr& repr) noexcept {
  std::array<std::byte, ip::HeaderBuffer::kTransportMax> header{};
  Writer writer{header};
  wire::emit(repr, writer, 0);
  ++s.ctx.counters.tcp_segs_out;
  if (s.tracing()) [[unlikely]] {
    s.trace_segment(TraceKind::segment_out, nullptr, repr.seq, repr.ack, 0, repr.flags,
                    repr.window);
  }
  s.out.queue_reply(tuple.local_address(), tuple.remote_address(), Protocol::tcp,
                    Bytes{header}.first(wire::header_len(repr)), wire::kTcpChecksumOffset);
}

}  // namespace tidewire::tcp
