// Segments without text: SYN, RST, ACK, probes.
#include <algorithm>

#include "core/tcp/output/sender.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

namespace {
Duration shifted(Duration base, unsigned shift, Duration most) noexcept {
  return std::min(base * (std::int64_t{1} << std::min(shift, 20U)), most);
}
}  // namespace

/// snd.nxt, unless the window shrank below it: there the peer would not accept even an ACK.
Seq Sender::acceptable_seq(const Connection& c) noexcept {
  const Seq edge = c.snd.una + c.snd.wnd;
  return c.snd.nxt.after(edge) && c.syn_acked ? edge : c.snd.nxt;
}

//= RFC 9293 §3.10.5
Sender::Step Sender::send_rst(Connection& c) noexcept {
  Outgoing out;
  out.seq = acceptable_seq(c);
  out.flags = TcpFlag::rst | TcpFlag::ack;
  if (c.timestamps_on) out.options = common_options(c);  //= RFC 7323 §3.2 SHOULD
  const Step result = push(c, out);
  if (result != Step::sent) return result;
  c.owe_rst = false;
  return s.reap(c) ? Step::gone : Step::sent;
}

//= RFC 9293 §3.10.1; RFC 7323 §2.2, §3.2; RFC 2018 §2
Sender::Step Sender::send_syn(Connection& c) noexcept {
  const bool answer = c.state == TcpState::syn_received;
  const OptionPolicy policy = s.option_policy(c.tuple, c.settings);
  Outgoing out;
  out.seq = c.snd.iss;
  out.flags = TcpFlag::syn;
  if (answer) out.flags |= TcpFlag::ack;
  out.flags |= answer ? ecn_syn_ack_flags(c.ecn.offer()) : ecn_syn_flags(s.config().ecn, c.retries);
  c.rcv.mss = policy.mss;
  // As Linux: only so much will come back.
  if (!answer && c.syn_too_big) {
    c.rcv.mss = std::min(c.rcv.mss, s.path_mss(c.tuple, c.settings.bound));
  }
  out.options.mss = c.rcv.mss;
  if (answer ? c.scaling_on : policy.window_scaling) {
    out.options.window_scale = policy.window_scale.shift();
  }
  out.options.sack_permitted = answer ? c.sack_on : policy.sack;
  if (answer ? c.timestamps_on : policy.timestamps) {
    if (!answer) c.timestamps = Timestamps{s.timestamp_offset(c.tuple)};
    out.options.timestamps =
        wire::TcpTimestamps{c.timestamps.value(s.now()), answer ? c.timestamps.echo() : 0};
  }
  if (answer && c.ecn.accurate() && c.retries == 0) out.options.acc_ecn = AccurateEcn::initial();
  if (c.settings.user_timeout_option) out.options.user_timeout = s.user_timeout_advice(c.settings);
  add_fast_open(c, out, answer);
  const Step result = push(c, out);
  if (result != Step::sent) return result;
  c.owe_syn = false;
  if (!c.syn_sent_once) {
    c.syn_sent_once = true;
    c.retries_since = s.now();
    c.snd.nxt = c.snd.iss + 1 + out.text;
    c.stats.bytes_sent += out.text;
    if (out.text > 0) ++c.stats.data_segs_out;
  }
  if (answer) c.ack.on_sent();
  s.arm(c, TimerKind::retransmit,
        s.now() + shifted(s.config().rto_initial, c.retries, s.config().rto_max));
  return Step::sent;
}

//= RFC 7413 §4.2.1, §4.2.2
/// Only the first SYN and SYN-ACK: what is sent again is as plain as possible.
void Sender::add_fast_open(const Connection& c, Outgoing& out, bool answer) noexcept {
  if (c.syn_sent_once) return;
  if (answer) {
    if (!c.syn_ack_cookie || c.fast_open_by == kNoIndex) return;
    const Connection& listener = *s.connections.at_index(c.fast_open_by);
    out.options.fast_open = make_fast_open_cookie(s.keys_of(listener).primary, c.tuple);
    out.options.fast_open->experimental = c.syn_ack_exp;
    return;
  }
  if (c.syn_fast_open) out.options.fast_open = s.fast_open.find(c.tuple).cookie;
  out.text = c.syn_text;
}

Sender::Step Sender::send_ack(Connection& c) noexcept {
  if (send_bare(c, acceptable_seq(c), TcpFlag::ack)) [[likely]]
    return Step::sent;
  Outgoing out;
  out.seq = acceptable_seq(c);
  out.flags = TcpFlag::ack;
  out.options = common_options(c);
  if (c.owe_user_timeout) [[unlikely]]
    out.options.user_timeout = s.user_timeout_advice(c.settings);
  add_sack(c, out, true);
  const Step result = push(c, out);
  if (result == Step::sent) c.owe_user_timeout = false;
  return result;
}

//= RFC 9293 §3.8.4 SHLD-12; RFC 9293 §3.8.6.1 MUST-36
/// One sequence number behind what the peer expects and without text: it must answer with an ACK.
Sender::Step Sender::send_probe(Connection& c) noexcept {
  Outgoing out;
  out.seq = c.snd.una - 1;
  out.flags = TcpFlag::ack;
  out.options = common_options(c);
  const Step result = push(c, out);
  if (result != Step::sent) return result;
  if (c.owe_probe && s.tracing()) [[unlikely]] {
    TraceRecord record = s.trace_record(TraceKind::retransmission, c);
    record.cause = LossCause::window_probe;
    record.a = out.seq.value();
    s.trace(record);
  }
  c.owe_probe = c.owe_keepalive = false;
  return Step::sent;
}

Sender::Step Sender::serve_half_open(HalfOpen& h, TxBudget& budget) noexcept {
  h.unlink();
  const Connection& listener = *s.connections.at_index(h.listener);
  const Settings& settings = listener.settings;
  wire::TcpRepr repr = s.syn_ack(h, settings);
  //= RFC 9768 §3.2.3.2.2
  // Not again, should the option be what a box on the way does not like.
  if (h.ecn().mode == EcnMode::accurate && h.retries == 0) {
    repr.options.acc_ecn = AccurateEcn::initial();
  }
  if (h.cookie && !h.sent) {
    repr.options.fast_open = make_fast_open_cookie(s.keys_of(listener).primary, h.tuple);
    repr.options.fast_open->experimental = h.exp;
  }
  ip::HeaderBuffer headers;
  Writer writer{headers.transport()};
  wire::emit(repr, writer, 0);
  ip::OutPacket packet;
  packet.source = h.tuple.local_address();
  packet.destination = h.tuple.remote_address();
  packet.tos = settings.tos;
  packet.ttl = settings.ttl;
  packet.transport_header_len = writer.written();
  packet.checksum_offset = wire::kTcpChecksumOffset;
  ip::Path path;
  path.waited = h.waited ? 1 : 0;
  const ip::SendResult result = s.out.send(headers, packet, path, settings.bound);
  h.waited = path.waited != 0;
  if (result.status == ip::Sent::full || result.status == ip::Sent::unresolved) {
    s.half_waiting.push_back(h);
    return Step::waits;
  }
  if (!h.sent) h.sent_at = s.now();
  h.sent = true;
  ++s.ctx.counters.tcp_segs_out;
  --budget.frames;
  budget.bytes -= std::min<std::uint64_t>(budget.bytes, packet.transport_header_len);
  s.wheel.schedule(h.timer,
                   s.now() + shifted(s.config().rto_initial, h.retries, s.config().rto_max));
  if (s.tracing()) [[unlikely]] {
    s.trace_segment(TraceKind::segment_out, nullptr, repr.seq, repr.ack, 0, repr.flags,
                    repr.window);
  }
  return Step::sent;
}

}  // namespace tidewire::tcp
