// LISTEN, SYN-RECEIVED reached from it, and the way to the accept queue.
#include <algorithm>

#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

namespace {

std::uint32_t initial_window(const Settings& settings) noexcept {
  return std::min({settings.receive_buffer, settings.window_clamp, std::uint32_t{0xffff}});
}

}  // namespace

//= RFC 9293 §3.10.7.2
void Input::listen_arrives(Connection& listener, Segment& seg,
                           std::optional<Seq> isn_floor) noexcept {
  if (seg.has(TcpFlag::rst)) return s.drop(DropReason::tcp_no_socket, seg);
  if (seg.has(TcpFlag::ack)) {
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
  if (l.ready > l.backlog) return s.drop(DropReason::tcp_accept_full, seg);
  if (l.half_open >= s.config().half_open_max) {
    return s.drop(DropReason::tcp_backlog_full, seg);
  }
  HalfOpen* h = make_half_open(seg, isn_floor);
  if (h == nullptr) return s.drop(DropReason::no_memory, seg);
  h->listener = s.connections.index_of(listener);
  ++l.half_open;
  s.mark_ready(*h);
  s.wheel.schedule(h->timer, s.now() + s.config().rto_initial);
}

HalfOpen* Input::make_half_open(const Segment& seg, std::optional<Seq> isn_floor) noexcept {
  HalfOpen* h = s.half_opens.acquire();
  if (h == nullptr) return nullptr;
  h->tuple = seg.tuple;
  h->iss = s.make_isn(seg.tuple);
  //= RFC 6191 §2
  // The sequence numbers of the connection that was in TIME-WAIT lie behind the new ones.
  if (isn_floor && !h->iss.after(*isn_floor)) h->iss = *isn_floor;
  h->irs = seg.seq;
  h->window = seg.window;
  h->interface = seg.interface;
  h->mss = seg.options.mss.value_or(0);
  h->has_mss = seg.options.mss.has_value();
  h->shift = seg.options.window_scale.value_or(0);
  h->has_shift = seg.options.window_scale.has_value();
  h->sack = seg.options.sack_permitted;
  h->timestamps = seg.options.timestamps.has_value();
  if (h->timestamps) h->tsval = seg.options.timestamps->value;
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
  if (!rst && h.timestamps && s.config().timestamps && !seg.options.timestamps) {
    s.drop(DropReason::tcp_paws, seg);
    return Verdict::done;
  }
  const std::uint32_t window = 0xffff;
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
  if (l.ready > l.backlog) return s.drop(DropReason::tcp_accept_full, seg);
  if (listener.settings.defer_accept_ms != 0 && seg.text_len == 0 && !seg.has(TcpFlag::fin) &&
      h.retries == 0) {
    h.acked = true;
    return;
  }
  Connection* c = promote(h, listener.settings);
  if (c == nullptr) return s.drop(DropReason::no_memory, seg);
  c->accept_by = s.connections.index_of(listener);
  c->family_v6 = listener.family_v6;
  c->bind = s.ports.share(listener.bind);
  c->stats.segs_in += seg.segs;
  synchronized_arrives(*c, seg);
  if (c->state == TcpState::syn_received) {
    // The full checks did not like the ACK: the SYN-ACK goes on being sent.
    s.arm(*c, TimerKind::retransmit, s.now() + s.config().rto_initial);
  }
  if (!s.reap(*c)) s.update_events(*c);
}

Connection* Input::promote(HalfOpen& h, const Settings& settings) noexcept {
  Connection* c = s.make_connection();
  if (c == nullptr) return nullptr;
  c->settings = settings;
  c->tuple = h.tuple;
  c->passive = true;
  c->snd.iss = c->snd.una = h.iss;
  c->snd.nxt = h.iss + 1;
  c->snd.wnd = c->snd.max_wnd = h.window;
  c->snd.wl1 = h.irs;
  c->rcv.irs = h.irs;
  c->rcv.nxt = c->rcv.last_ack_sent = h.irs + 1;
  c->rcv.window = ReceiveWindow{c->rcv.nxt};
  (void)c->rcv.window.advertise(c->rcv.nxt, Window{initial_window(settings)}, WindowScale{});
  c->syn_retransmitted = h.retries > 0;
  c->syn_sent_once = h.sent;
  c->last_received = s.now();
  c->path.interface = h.interface;
  SynOptions theirs;
  if (h.has_mss) theirs.mss = h.mss;
  if (h.has_shift) theirs.window_shift = h.shift;
  theirs.sack_permitted = h.sack;
  if (h.timestamps) theirs.tsval = h.tsval;
  s.apply_options(*c, theirs);
  if (!s.attach_active(*c)) {
    s.entries.release(*s.entries.get(c->entry));
    s.release_connection(*c);
    return nullptr;
  }
  if (h.retries == 0 && h.sent && h.sent_at <= s.now()) {
    c->rtt.on_sample(s.now() - h.sent_at, s.now());
  }
  s.flows.replace(s.hash_of(h.tuple), {FlowKind::half_open, s.half_opens.index_of(h)},
                  {FlowKind::connection, s.connections.index_of(*c)});
  c->in_table = true;
  h.in_table = false;
  s.release(h);
  s.set_state(*c, TcpState::syn_received);
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
  std::array<std::byte, ip::HeaderBuffer::kTransportMax> header{};
  Writer writer{header};
  wire::emit(repr, writer, 0);
  ++s.ctx.counters.tcp_segs_out;
  if (s.tracing()) [[unlikely]] {
    s.trace_segment(TraceKind::segment_out, nullptr, seq, ack, 0, repr.flags, window);
  }
  s.out.queue_reply(tuple.local_address(), tuple.remote_address(), Protocol::tcp,
                    Bytes{header}.first(wire::header_len(repr)), wire::kTcpChecksumOffset);
}

}  // namespace tidewire::tcp
