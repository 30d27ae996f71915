// Options of the stack backend: units and names.
#include <algorithm>
#include <cerrno>

#include "front/posix/errno_map.hpp"
#include "front/posix/stack_backend.hpp"

namespace tidewire::posix {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t millisecond = 1'000'000;

/// The stack's option for one of ours, and the stack's units in one of ours.
struct Mapping {
  Option ours;
  SocketOption stacks;
  std::int64_t unit = 1;
};
constexpr Mapping mappings[] = {
    {Option::no_delay, SocketOption::no_delay},
    {Option::cork, SocketOption::cork},
    {Option::quick_ack, SocketOption::quick_ack},
    {Option::max_segment, SocketOption::max_segment},
    {Option::keep_alive, SocketOption::keep_alive},
    {Option::keep_idle, SocketOption::keep_idle, second},
    {Option::keep_interval, SocketOption::keep_interval, second},
    {Option::keep_count, SocketOption::keep_count},
    {Option::user_timeout, SocketOption::user_timeout, millisecond},
    {Option::syn_count, SocketOption::syn_count},
    {Option::defer_accept, SocketOption::defer_accept, second},
    {Option::window_clamp, SocketOption::window_clamp},
    {Option::fin_timeout, SocketOption::linger2, second},
    {Option::unsent_low_water, SocketOption::not_sent_low_water},
    {Option::reuse_address, SocketOption::reuse_address},
    {Option::reuse_port, SocketOption::reuse_port},
    {Option::broadcast, SocketOption::broadcast},
    {Option::v6_only, SocketOption::v6_only},
    {Option::ttl, SocketOption::ttl},
    {Option::tos, SocketOption::tos},
    {Option::hop_limit, SocketOption::ttl},
    {Option::traffic_class, SocketOption::tos},
    {Option::multicast_ttl, SocketOption::multicast_ttl},
    {Option::multicast_hops, SocketOption::multicast_ttl},
    {Option::multicast_loop, SocketOption::multicast_loop},
    {Option::multicast_loop_v6, SocketOption::multicast_loop},
    {Option::mtu_discover, SocketOption::mtu_discover},
    {Option::send_buffer, SocketOption::send_buffer},
    {Option::receive_buffer, SocketOption::receive_buffer},
    {Option::linger, SocketOption::linger, second},
};

const Mapping* find(Option option) {
  const auto* found = std::ranges::find(mappings, option, &Mapping::ours);
  return found == std::end(mappings) ? nullptr : found;
}

// What -1 asks for.
int default_of(Option option) {
  if (option == Option::hop_limit) return 64;
  return option == Option::traffic_class ? 0 : 1;
}

bool minus_one_is_default(Option option) {
  return option == Option::hop_limit || option == Option::traffic_class ||
         option == Option::multicast_ttl || option == Option::multicast_hops;
}

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

}  // namespace

int StackBackend::set_option(SocketRef socket, Option option, int value, Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  e->options[option] = value;
  const bool stream = e->transport == Transport::tcp;
  // Streams have no multicast; the interface of multicast has its own call for IPv4.
  if (option == Option::multicast_interface_v6) {
    const InterfaceId chosen = interface_of(static_cast<std::uint32_t>(value), {});
    if (value != 0 && chosen == kNoInterface) return ENODEV;
    if (stream) return 0;
    const auto done = stack_.set_option(e->id, SocketOption::multicast_interface, chosen, now);
    return done ? 0 : errno_of(done.error());
  }
  const Mapping* mapping = find(option);
  if (mapping == nullptr) return ENOPROTOOPT;
  std::int64_t amount = value;
  if (value == -1 && minus_one_is_default(option)) amount = default_of(option);
  if (option == Option::tos || option == Option::traffic_class) amount &= 0xff;
  if (amount > 0) amount *= mapping->unit;
  const auto done = stack_.set_option(e->id, mapping->stacks, amount, now);
  if (done) return 0;
  // What has no meaning for this kind of socket is remembered, as by the kernel.
  return done.error() == SocketError::not_supported ? 0 : errno_of(done.error());
}

Result<int, int> StackBackend::get_option(SocketRef socket, Option option) {
  Entry* e = entry(socket);
  const Mapping* mapping = find(option);
  if (e == nullptr || mapping == nullptr) return fail(ENOPROTOOPT);
  const auto value = stack_.get_option(e->id, mapping->stacks);
  if (!value) return fail(errno_of(value.error()));
  return static_cast<int>(*value < 0 ? *value : *value / mapping->unit);
}

int StackBackend::set_congestion(SocketRef socket, std::string_view name) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  const std::string_view wanted = name == "reno" ? std::string_view("newreno") : name;
  const auto done = stack_.set_congestion_control(e->id, wanted, now_);
  return done ? 0 : ENOENT;
}

std::string StackBackend::congestion(SocketRef socket) {
  Entry* e = entry(socket);
  const auto about = e == nullptr ? std::nullopt : stack_.info(e->id);
  if (!about) return {};
  return about->congestion_control == "newreno" ? "reno" : std::string(about->congestion_control);
}

bool StackBackend::info(SocketRef socket, struct tcp_info& out) {
  Entry* e = entry(socket);
  const auto about = e == nullptr ? std::nullopt : stack_.info(e->id);
  if (!about) return false;
  const std::uint32_t mss = std::max(about->mss, 1U);
  out.tcpi_state = static_cast<std::uint8_t>(linux_state(about->state));
  out.tcpi_options = static_cast<std::uint8_t>(
      (about->timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (about->sack ? TCPI_OPT_SACK : 0) |
      (about->window_scaling ? TCPI_OPT_WSCALE : 0) |
      (about->ecn != EcnMode::off ? TCPI_OPT_ECN : 0) | (about->ecn_seen ? TCPI_OPT_ECN_SEEN : 0));
  out.tcpi_snd_wscale = about->send_scale & 0xf;
  out.tcpi_rcv_wscale = about->receive_scale & 0xf;
  out.tcpi_backoff = about->backoff;
  out.tcpi_probes = about->probes;
  out.tcpi_rto = micros(about->rto);
  out.tcpi_rtt = micros(about->srtt);
  out.tcpi_rttvar = micros(about->rttvar);
  out.tcpi_snd_mss = about->mss;
  out.tcpi_rcv_mss = about->receive_mss;
  out.tcpi_advmss = about->receive_mss;
  out.tcpi_pmtu = about->path_mtu;
  out.tcpi_snd_cwnd = about->cwnd / mss;
  out.tcpi_snd_ssthresh = about->ssthresh / mss;
  out.tcpi_unacked = (about->in_flight + mss - 1) / mss;
  out.tcpi_sacked = about->sacked;
  out.tcpi_lost = about->lost;
  out.tcpi_total_retrans = about->retransmits;
  out.tcpi_reordering = about->reordering;
  out.tcpi_rcv_space = about->receive_window;
  out.tcpi_last_data_sent = millis_since(about->last_sent, now_);
  out.tcpi_last_data_recv = millis_since(about->last_received, now_);
  out.tcpi_last_ack_recv = millis_since(about->last_ack_received, now_);
  return true;
}

}  // namespace tidewire::posix
