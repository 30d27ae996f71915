#include "front/abi/tcp_info.hpp"

#include <netinet/tcp.h>

#include <algorithm>

namespace tidewire::posix {
namespace {

std::uint32_t micros(Duration d) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(d.count_micros(), 0, 0xffffffff));
}

std::uint32_t millis_since(Instant then, Instant now) {
  return then > now ? 0 : micros(now - then) / 1000;
}

int linux_state(TcpState state) {
  switch (state) {
    case TcpState::established:
      return TCP_ESTABLISHED;
    case TcpState::syn_sent:
      return TCP_SYN_SENT;
    case TcpState::syn_received:
      return TCP_SYN_RECV;
    case TcpState::fin_wait_1:
      return TCP_FIN_WAIT1;
    case TcpState::fin_wait_2:
      return TCP_FIN_WAIT2;
    case TcpState::time_wait:
      return TCP_TIME_WAIT;
    case TcpState::closed:
      return TCP_CLOSE;
    case TcpState::close_wait:
      return TCP_CLOSE_WAIT;
    case TcpState::last_ack:
      return TCP_LAST_ACK;
    case TcpState::listen:
      return TCP_LISTEN;
    case TcpState::closing:
      return TCP_CLOSING;
  }
  return TCP_CLOSE;
}

void tell_times(const SocketInfo& about, LinuxTcpInfo& out) {
  out.busy_time = static_cast<std::uint64_t>(about.busy.count_micros());
  out.rwnd_limited = static_cast<std::uint64_t>(about.window_limited.count_micros());
  out.sndbuf_limited = static_cast<std::uint64_t>(about.buffer_limited.count_micros());
}

}  // namespace

LinuxTcpInfo linux_tcp_info(const SocketInfo& about, Instant now) {
  LinuxTcpInfo out;
  const std::uint32_t mss = std::max(about.mss, 1U);
  const auto segments = [mss](std::uint32_t bytes) { return (bytes + mss - 1) / mss; };
  out.state = static_cast<std::uint8_t>(linux_state(about.state));
  out.ca_state = about.timed_out          ? TCP_CA_Loss
                 : about.in_recovery      ? TCP_CA_Recovery
                 : about.reduced_by_marks ? TCP_CA_CWR
                 : about.disorder         ? TCP_CA_Disorder
                                          : TCP_CA_Open;
  out.options = static_cast<std::uint8_t>(
      (about.timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (about.sack ? TCPI_OPT_SACK : 0) |
      (about.window_scaling ? TCPI_OPT_WSCALE : 0) |
      (about.ecn != EcnMode::off ? TCPI_OPT_ECN : 0) | (about.ecn_seen ? TCPI_OPT_ECN_SEEN : 0) |
      (about.syn_data ? TCPI_OPT_SYN_DATA : 0));
  out.fastopen_client_fail = static_cast<unsigned>(about.fast_open_failure) & 3U;
  out.snd_wscale = about.send_scale & 0xf;
  out.rcv_wscale = about.receive_scale & 0xf;
  out.retransmits = out.backoff = about.backoff;
  out.probes = about.probes;
  out.rto = micros(about.rto);
  out.snd_mss = about.mss;
  out.rcv_mss = out.advmss = about.receive_mss;
  out.unacked = segments(about.outstanding);
  out.sacked = about.sacked;
  out.lost = segments(about.deemed_lost);
  out.retrans = segments(about.sent_again);
  out.last_data_sent = millis_since(about.last_sent, now);
  out.last_data_recv = millis_since(about.last_received, now);
  out.last_ack_recv = millis_since(about.last_ack_received, now);
  out.pmtu = about.path_mtu;
  out.rtt = micros(about.srtt);
  out.rttvar = micros(about.rttvar);
  // Not reduced yet: Linux has a number of its own for it.
  constexpr std::uint32_t infinite = 0x7fffffff;
  out.snd_ssthresh = about.ssthresh == ~std::uint32_t{0} ? infinite : about.ssthresh / mss;
  out.snd_cwnd = about.cwnd / mss;
  out.reordering = std::max(about.reordering, 3U);  // as Linux: what three duplicate ACKs bear
  out.rcv_ssthresh = out.rcv_space = out.rcv_wnd = about.receive_window;
  out.total_retrans = about.retransmits;
  out.pacing_rate = about.pacing_rate;
  out.max_pacing_rate = about.max_pacing_rate;
  out.bytes_acked = about.bytes_acked;
  out.bytes_received = about.bytes_received;
  out.segs_out = static_cast<std::uint32_t>(about.segs_out);
  out.segs_in = static_cast<std::uint32_t>(about.segs_in);
  out.notsent_bytes = about.send_unsent;
  out.min_rtt = micros(about.min_rtt);
  out.data_segs_in = static_cast<std::uint32_t>(about.data_segs_in);
  out.data_segs_out = static_cast<std::uint32_t>(about.data_segs_out);
  out.delivery_rate = about.delivery_rate;
  tell_times(about, out);
  // Linux counts the SYN.
  using enum TcpState;
  const bool answered = about.state != closed && about.state != listen && about.state != syn_sent &&
                        about.state != syn_received;
  out.delivered =
      static_cast<std::uint32_t>((about.delivered + mss - 1) / mss) + (answered ? 1 : 0);
  out.bytes_sent = about.bytes_sent;
  out.received_ce = about.ce_received;
  out.delivered_ce_bytes = static_cast<std::uint32_t>(about.ce_reported);
  out.delivered_ce = static_cast<std::uint32_t>((about.ce_reported + mss - 1) / mss);
  out.bytes_retrans = about.bytes_retransmitted;
  out.dsack_dups = about.dsacks;
  out.reord_seen = about.reordering_seen;
  out.snd_wnd = about.send_window;
  out.total_rto = static_cast<std::uint16_t>(about.timeouts);
  return out;
}

}  // namespace tidewire::posix
