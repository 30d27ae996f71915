#include <algorithm>

#include "report/run_report.hpp"
#include "report/units.hpp"

namespace tidewire::report {

namespace {

std::string flow_line(const FlowRecord& flow) {
  std::string line = "  ";
  line += name_of(flow.protocol);
  line += ' ';
  const bool ports = flow.protocol != Protocol::icmp;
  const auto text = [&](const Endpoint& e) { return ports ? to_string(e) : to_string(e.address); };
  line += text(flow.host) + (flow.inward ? " < " : " > ") + text(flow.remote);
  if (!flow.program.empty()) line += " (" + flow.program + ")";
  if (flow.protocol == Protocol::tcp) {
    line += ' ';
    line += flow.aborted ? (flow.established ? "reset" : "failed")
                         : (flow.ended ? "closed" : to_string(flow.state));
  }
  if (flow.ecn != EcnMode::off) line += std::string(", ECN ") + std::string(to_string(flow.ecn));
  if (flow.inside) line += ", inside the run";
  return line;
}

std::string direction_line(const char* arrow, const FlowDirection& d) {
  std::string line = "    ";
  line += arrow;
  line += ' ' + format_bytes(d.bytes) + " in " + plural(d.packets, "packet", "packets");
  if (d.bytes > 0 && d.last_data > d.first_data) {
    line += ", " + format_rate(d.bytes, d.last_data - d.first_data);
  }
  if (d.rtt_samples != 0) {
    line += ", RTT " + format_duration(d.rtt_smoothed) + " (" + format_duration(d.rtt_min) +
            " to " + format_duration(d.rtt_max) + ")";
  }
  if (d.marked_packets != 0) line += ", " + format_count(d.marked_packets) + " marked CE";
  if (d.retransmitted_packets != 0) {
    line += ", " + plural(d.retransmitted_packets, "retransmission", "retransmissions") + " (" +
            retransmission_causes(d) + ")";
  }
  if (d.spurious_packets != 0) line += ", " + format_count(d.spurious_packets) + " for nothing";
  if (const std::string undone = undo_causes(d); !undone.empty()) {
    line += ", reductions undone: " + undone;
  }
  return line;
}

std::string link_line(const char* name, const LinkDirectionReport& d) {
  std::string line = "  ";
  line += name;
  line += ' ' + plural(d.packets, "packet", "packets") + ", " + format_bytes(d.bytes);
  for (const LinkImpact& impact : d.impacts) {
    if (impact.packets != 0) line += ", " + format_count(impact.packets) + ' ' + impact.what;
  }
  return line;
}

std::string net_text(const std::string& net) {
  return net.empty() ? "a perfect link" : "net '" + net + "'";
}

std::string change_line(const NetChange& change) {
  return "  from " + format_duration(change.at) + ": " + net_text(change.net) +
         (change.up ? "" : ", down");
}

}  // namespace

std::string_view name_of(Protocol protocol) noexcept {
  switch (protocol) {
    case Protocol::tcp:
      return "tcp";
    case Protocol::udp:
      return "udp";
    case Protocol::icmp:
      return "icmp";
    case Protocol::icmpv6:
      return "icmpv6";
    case Protocol::igmp:
      return "igmp";
  }
  return "ip";
}

std::string_view describe(LossCause cause) noexcept {
  switch (cause) {
    case LossCause::none:
      return "unknown";
    case LossCause::duplicate_acks:
      return "duplicate ACKs";
    case LossCause::sack:
      return "SACK";
    case LossCause::rto:
      return "RTO";
    case LossCause::rack:
      return "RACK";
    case LossCause::tail_probe:
      return "tail loss probe";
    case LossCause::partial_ack:
      return "partial ACK";
    case LossCause::syn_timeout:
      return "SYN time-out";
    case LossCause::path_mtu:
      return "path MTU";
    case LossCause::window_probe:
      return "window probe";
  }
  return "unknown";
}

std::string retransmission_causes(const FlowDirection& direction) {
  std::string text;
  for (std::size_t i = 0; i < kLossCauses; ++i) {
    if (direction.retransmissions[i] == 0) continue;
    if (!text.empty()) text += ", ";
    text += format_count(direction.retransmissions[i]) + " by ";
    text += describe(static_cast<LossCause>(i));
  }
  return text;
}

std::string_view describe(UndoCause cause) noexcept {
  switch (cause) {
    case UndoCause::none:
      return "unknown";
    case UndoCause::timestamps:
      return "timestamps";
    case UndoCause::dsack:
      return "D-SACK";
    case UndoCause::frto:
      return "F-RTO";
  }
  return "unknown";
}

std::string undo_causes(const FlowDirection& direction) {
  std::string text;
  for (std::size_t i = 0; i < kUndoCauses; ++i) {
    if (direction.undos[i] == 0) continue;
    if (!text.empty()) text += ", ";
    text += format_count(direction.undos[i]) + " by ";
    text += describe(static_cast<UndoCause>(i));
  }
  return text;
}

std::string summary(const RunReport& report, std::size_t flows_shown) {
  std::vector<const FlowRecord*> flows;
  for (const FlowRecord& flow : report.flows) flows.push_back(&flow);
  // The heaviest are shown, in order of appearance.
  const auto weight = [](const FlowRecord* f) { return f->up.bytes + f->down.bytes; };
  if (flows.size() > flows_shown) {
    std::ranges::stable_sort(flows, std::ranges::greater{}, weight);
    flows.resize(flows_shown);
    std::ranges::sort(flows, {}, &FlowRecord::number);
  }
  const std::uint64_t count = report.flows.size() + report.flows_not_recorded;
  std::string text = "tidewire: " + plural(count, "flow", "flows") + " in " +
                     format_duration(report.duration) + ", seed " + std::to_string(report.seed) +
                     ", " + net_text(report.net) + "\n";
  for (const NetChange& change : report.net_changes) text += change_line(change) + "\n";
  for (const FlowRecord* flow : flows) {
    text += flow_line(*flow) + "\n";
    if (flow->up.bytes != 0 || flow->up.retransmitted_packets != 0) {
      text += direction_line("sent    ", flow->up) + "\n";
    }
    if (flow->down.bytes != 0 || flow->down.retransmitted_packets != 0) {
      text += direction_line("received", flow->down) + "\n";
    }
  }
  if (report.flows.size() > flows.size()) {
    text += "  ... and " +
            plural(report.flows.size() - flows.size(), "smaller flow", "smaller flows") +
            " (--json lists " + (report.flows_not_recorded == 0 ? "all" : "these") + ")\n";
  }
  if (report.flows_not_recorded != 0) {
    text += "  ... and " + plural(report.flows_not_recorded, "later flow", "later flows") +
            ", only counted\n";
  }
  if (report.up.packets + report.down.packets != 0) {
    text += link_line("link up:  ", report.up) + "\n";
    text += link_line("link down:", report.down) + "\n";
  }
  return text;
}

}  // namespace tidewire::report
