// Segments for a tuple in TIME-WAIT.
#include "core/tcp/input/input.hpp"

namespace tidewire::tcp {

using wire::TcpFlag;

namespace {

//= RFC 6191 §2; RFC 1122 §4.2.2.13
/// A SYN that can only belong to a new connection.
bool opens_anew(const TimeWait& tw, const Segment& seg) noexcept {
  if (!seg.has(TcpFlag::syn) || seg.has(TcpFlag::ack) || seg.has(TcpFlag::rst)) return false;
  if (tw.timestamps != 0 && seg.options.timestamps) {
    const Seq ts{seg.options.timestamps->value};
    if (ts.after(Seq{tw.ts_recent})) return true;
    if (ts.before(Seq{tw.ts_recent})) return false;
  }
  return seg.seq.after(tw.rcv_nxt);
}

}  // namespace

//= RFC 9293 §3.10.7.4, TIME-WAIT
void Input::time_wait_arrives(TimeWait& tw, Segment& seg, const ip::Packet& packet,
                              const ForwardPolicy& forwarding) noexcept {
  if (seg.has(TcpFlag::rst)) {
    //= RFC 1337 §3; RFC 5961 §3.2
    // An old reset does not cut the wait short. One with the very next number answers our answer to
    // a SYN: a peer that began anew, whose timestamps did not show it, need not wait for us.
    if (seg.seq == tw.rcv_nxt) return s.time_wait_release(tw);
    return s.drop(DropReason::tcp_time_wait, seg);
  }
  if (opens_anew(tw, seg)) {
    // The new connection's numbers begin behind all that the old one can have used.
    const Seq floor = tw.snd_nxt + 65'537;
    const bool forwarded = !packet.to_us || (forwarding.tcp && forwarding.include_local);
    if (forwarded || find_listener(seg) != nullptr) {
      s.time_wait_release(tw);
      return stranger(seg, packet, forwarding, floor);
    }
  }
  s.drop(DropReason::tcp_time_wait, seg);
  const bool old_fin = seg.has(TcpFlag::fin) && seg.end().at_or_before(tw.rcv_nxt);
  if (old_fin) s.time_wait_restart(tw);
  // An acceptable ACK wants no answer, and another one may be an answer itself.
  if (seg.len() == 0) return;
  std::optional<wire::TcpTimestamps> timestamps;
  if (tw.timestamps != 0) {
    const Timestamps clock{s.timestamp_offset(tw.tuple)};
    timestamps = {clock.value(s.now()), tw.ts_recent};
  }
  reply_ack(tw.tuple, tw.snd_nxt, tw.rcv_nxt, 0xffff, timestamps);
}

}  // namespace tidewire::tcp
