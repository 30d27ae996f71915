#include "apps/host_control.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <memory>

#include "device/net_spec.hpp"
#include "front/abi/tcp_info.hpp"
#include "report/run_report.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr std::size_t kSocketsAtOnce = 128;

/// As ss(8) calls them.
std::string_view state_of(const SocketInfo& info) {
  if (info.protocol != Protocol::tcp) return info.remote.port != 0 ? "ESTAB" : "UNCONN";
  switch (info.state) {
    case TcpState::closed:
      return "UNCONN";
    case TcpState::listen:
      return "LISTEN";
    case TcpState::syn_sent:
      return "SYN-SENT";
    case TcpState::syn_received:
      return "SYN-RECV";
    case TcpState::established:
      return "ESTAB";
    case TcpState::fin_wait_1:
      return "FIN-WAIT-1";
    case TcpState::fin_wait_2:
      return "FIN-WAIT-2";
    case TcpState::close_wait:
      return "CLOSE-WAIT";
    case TcpState::closing:
      return "CLOSING";
    case TcpState::last_ack:
      return "LAST-ACK";
    case TcpState::time_wait:
      return "TIME-WAIT";
  }
  return "UNKNOWN";
}

void add_connection(control::Record& line, const SocketInfo& info, Instant now) {
  const posix::LinuxTcpInfo t = posix::linux_tcp_info(info, now);
  line.add("congestion_control", info.congestion_control);
  line.add("limited_by", info.limited_by);
  line.add("cwnd", t.snd_cwnd).add("cwnd_bytes", info.cwnd).add("mss", info.mss);
  // Not reduced yet: then there is none.
  if (info.ssthresh != ~std::uint32_t{0}) line.add("ssthresh", t.snd_ssthresh);
  line.add("rtt_us", t.rtt).add("rttvar_us", t.rttvar).add("rto_us", t.rto);
  line.add("min_rtt_us", t.min_rtt).add("backoff", t.backoff);
  line.add("retrans", info.retransmits).add("retrans_now", t.retrans).add("lost", t.lost);
  line.add("timeouts", info.timeouts).add("unacked", t.unacked).add("sacked", t.sacked);
  line.add("dsack_dups", t.dsack_dups).add("reordering", t.reordering);
  line.add("bytes_sent", t.bytes_sent).add("bytes_retrans", t.bytes_retrans);
  line.add("bytes_acked", t.bytes_acked).add("bytes_received", t.bytes_received);
  line.add("segs_out", info.segs_out).add("segs_in", info.segs_in);
  line.add("data_segs_out", info.data_segs_out).add("data_segs_in", info.data_segs_in);
  line.add("notsent", t.notsent_bytes).add("snd_wnd", t.snd_wnd).add("rcv_wnd", t.rcv_wnd);
  line.add("pmtu", t.pmtu).add("rcv_mss", t.rcv_mss);
  line.add("pacing_rate", t.pacing_rate).add("delivery_rate", t.delivery_rate);
  line.add("busy_us", t.busy_time).add("rwnd_limited_us", t.rwnd_limited);
  line.add("sndbuf_limited_us", t.sndbuf_limited);
  line.add("timestamps", std::uint64_t{info.timestamps}).add("sack", std::uint64_t{info.sack});
  if (info.window_scaling) {
    line.add("send_scale", info.send_scale).add("receive_scale", info.receive_scale);
  }
  line.add("ecn", to_string(info.ecn));
}

control::Reply refusal(std::string why) {
  return {.lines = {}, .more = {}, .error = std::move(why)};
}

}  // namespace

HostControl::HostControl(VirtualNetwork& network, posix::StackBackend* backend, Program* program,
                         const NetworkOptions& options, Facts facts)
    : network_(network),
      backend_(backend),
      program_(program),
      joining_(network, program, options),
      facts_(std::move(facts)),
      net_(network.net()),
      link_up_(network.link_up()) {
  network_.on_change([this] { changed(); });
}

HostControl::~HostControl() { network_.on_change({}); }

/// By a command or by a scenario: the programs hear of the MTU, people of the rest.
void HostControl::changed() {
  if (backend_ != nullptr) backend_->set_mtu(network_.host_interface(), network_.mtu());
  if (facts_.show_mtu) facts_.show_mtu(network_.mtu());
  if (network_.net() != net_) {
    net_ = network_.net();
    const std::string net = device::to_string(net_);
    tell(net.empty() ? "the link is perfect from now on" : "from now on the net is '" + net + "'");
  }
  if (network_.link_up() != link_up_) {
    link_up_ = network_.link_up();
    tell(link_up_ ? "the link is up again" : "the link is down");
  }
}

control::Reply HostControl::answer(control::Request& request, Instant) {
  const control::Record& record = request.record;
  if (record.kind() == "host") return {.lines = to_line(about_host()), .more = {}, .error = {}};
  if (record.kind() == "sockets") return list_sockets();
  if (record.kind() == "net") {
    const std::string_view action = record.get("action");
    if (action == "show") return show_net();
    if (action == "set") return change_net(record);
    if (action == "up" || action == "down") return set_link_up(action == "up");
  }
  if (record.kind() == "join") return joining_.ask(request, to_line(about_host()));
  if (record.kind() == "program") return joining_.take_program(request);
  return refusal(
      "there is no such request; known are: host, sockets, net action=show|set|up|down, join, "
      "program");
}

void HostControl::gone(control::ConnectionId connection) { joining_.gone(connection); }

void HostControl::tell(const std::string& what) const {
  if (!facts_.quiet) fmt::print(stderr, "tidewire: {}\n", what);
}

control::Record HostControl::about_host() const {
  control::Record line("host");
  line.add("name", facts_.name).add("pid", static_cast<std::uint64_t>(getpid()));
  line.add("program", facts_.program).add("net", device::to_string(network_.net()));
  line.add("link", network_.link_up() ? "up" : "down").add("seed", network_.seed());
  line.add("joined", std::uint64_t{joining_.joined()});
  return line;
}

control::Record HostControl::about_link(device::Direction direction) const {
  const bool up = direction == device::Direction::up;
  const device::LinkCounters& counters = network_.link_counters(direction);
  control::Record line("link");
  line.add("direction", up ? "up" : "down");
  device::NetSpec one;
  one.up = one.down = up ? network_.net().up : network_.net().down;
  line.add("net", device::to_string(one)).add("packets", counters.packets);
  line.add("bytes", counters.bytes).add("delivered", counters.delivered);
  line.add("dropped", counters.dropped());
  for (std::size_t i = 0; i < counters.impacts.size(); ++i) {
    line.add(to_string(static_cast<device::Impact>(i)), counters.impacts[i]);
  }
  return line;
}

control::Record HostControl::about_socket(const SocketInfo& info, Instant now) {
  control::Record line("socket");
  line.add("protocol", report::name_of(info.protocol)).add("state", state_of(info));
  const posix::SocketRef ref = backend_ == nullptr ? 0 : backend_->socket_ref(info.id);
  const auto use = ref == 0 ? std::nullopt : program_->use_of(ref);
  line.add("receive_queue", info.receive_queue + (use ? use->unread : 0));
  line.add("send_queue", info.send_queue + (use ? use->unsent : 0));
  line.add("local", to_string(info.local.address)).add("local_port", info.local.port);
  line.add("remote", to_string(info.remote.address)).add("remote_port", info.remote.port);
  if (use) {
    line.add("program", use->program);
    if (use->fd >= 0) {
      line.add("pid", static_cast<std::uint64_t>(use->pid));
      line.add("fd", static_cast<std::uint64_t>(use->fd));
    }
  }
  const bool tcp = info.protocol == Protocol::tcp;
  if (tcp && info.state != TcpState::listen && info.state != TcpState::closed) {
    add_connection(line, info, now);
  }
  return line;
}

control::Reply HostControl::list_sockets() {
  control::Reply reply;
  reply.lines = to_line(about_host());
  reply.more = [this, after = SocketId{}](std::string& out) mutable {
    const Instant now = runtime::Clock::now();
    for (std::size_t i = 0; i < kSocketsAtOnce; ++i) {
      const auto info = network_.host().next_socket(after);
      if (!info) return false;
      after = info->id;
      out += to_line(about_socket(*info, now));
    }
    return true;
  };
  return reply;
}

control::Reply HostControl::show_net() const {
  control::Reply reply;
  reply.lines = to_line(about_host()) + to_line(about_link(device::Direction::up)) +
                to_line(about_link(device::Direction::down));
  return reply;
}

control::Reply HostControl::change_net(const control::Record& request) {
  const std::string_view words = request.get("words");
  const bool replace = request.get("replace") == "1";
  const auto spec = device::read_net_spec(replace ? device::NetSpec{} : network_.net(), words);
  if (!spec) return refusal(to_string(spec.error()));
  network_.set_net(*spec);
  return show_net();
}

control::Reply HostControl::set_link_up(bool up) {
  if (network_.link_up() != up) network_.set_link_up(up);
  return show_net();
}

}  // namespace tidewire::apps
