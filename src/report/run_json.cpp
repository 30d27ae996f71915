#include "core/drop_reason.hpp"
#include "report/json_writer.hpp"
#include "report/run_report.hpp"

namespace tidewire::report {

namespace {

void write_direction(JsonWriter& json, const char* name, const FlowDirection& d) {
  json.key(name);
  json.begin_object();
  json.member("packets", d.packets);
  json.member("bytes", d.bytes);
  json.member("retransmitted_packets", d.retransmitted_packets);
  json.member("retransmitted_bytes", d.retransmitted_bytes);
  json.key("retransmissions");
  json.begin_object();
  for (std::size_t i = 0; i < kLossCauses; ++i) {
    if (d.retransmissions[i] == 0) continue;
    json.member(to_string(static_cast<LossCause>(i)), d.retransmissions[i]);
  }
  json.end_object();
  json.member("spurious_retransmits", d.spurious_packets);
  json.key("undos");
  json.begin_object();
  for (std::size_t i = 0; i < kUndoCauses; ++i) {
    if (d.undos[i] != 0) json.member(to_string(static_cast<UndoCause>(i)), d.undos[i]);
  }
  json.end_object();
  json.key("rtt_us");
  if (d.rtt_samples == 0) {
    json.null();
  } else {
    json.begin_object();
    json.member("samples", d.rtt_samples);
    json.member("min", d.rtt_min.count_micros());
    json.member("smoothed", d.rtt_smoothed.count_micros());
    json.member("max", d.rtt_max.count_micros());
    json.end_object();
  }
  json.member("cwnd_max", d.cwnd_max);
  json.member("marked_packets", d.marked_packets);
  const std::int64_t active = d.bytes == 0 ? 0 : (d.last_data - d.first_data).count_micros();
  json.member("active_us", active);
  json.member("goodput_bits_per_second",
              active <= 0 ? std::uint64_t{0}
                          : static_cast<std::uint64_t>(static_cast<double>(d.bytes) * 8e6 /
                                                       static_cast<double>(active)));
  json.end_object();
}

void write_flow(JsonWriter& json, const FlowRecord& flow, Instant started) {
  json.begin_object();
  json.member("number", flow.number);
  json.member("protocol", name_of(flow.protocol));
  json.member("host", std::string_view(to_string(flow.host)));
  json.member("remote", std::string_view(to_string(flow.remote)));
  json.member("program", std::string_view(flow.program));
  json.member("opened_by", flow.inward ? "remote" : "host");
  json.member("inside", flow.inside);
  if (flow.protocol == Protocol::tcp) {
    json.member("state", to_string(flow.state));
    json.member("established", flow.established);
    json.member("aborted", flow.aborted);
    json.member("ecn", to_string(flow.ecn));
  }
  json.member("opened_us", (flow.opened - started).count_micros());
  json.member("last_us", (flow.last - started).count_micros());
  write_direction(json, "sent", flow.up);
  write_direction(json, "received", flow.down);
  json.end_object();
}

void write_link(JsonWriter& json, const char* name, const LinkDirectionReport& d) {
  json.key(name);
  json.begin_object();
  json.member("packets", d.packets);
  json.member("bytes", d.bytes);
  json.member("delivered", d.delivered);
  json.member("dropped", d.dropped);
  json.key("impacts");
  json.begin_object();
  for (const LinkImpact& impact : d.impacts) {
    if (impact.packets != 0) json.member(impact.what, impact.packets);
  }
  json.end_object();
  json.member("events_total", d.events_total);
  json.key("events");
  json.begin_array();
  for (const LinkEvent& event : d.events) {
    json.begin_object();
    json.member("at_us", event.at.count_micros());
    json.member("what", std::string_view(event.what));
    json.member("flow", event.flow_number);
    json.member("packet", event.ordinal);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_stack(JsonWriter& json, const char* name, const Counters& c) {
  json.key(name);
  json.begin_object();
  json.member("frames_in", c.frames_in);
  json.member("frames_out", c.frames_out);
  json.member("bytes_in", c.bytes_in);
  json.member("bytes_out", c.bytes_out);
  json.member("tcp_segs_in", c.tcp_segs_in);
  json.member("tcp_segs_out", c.tcp_segs_out);
  json.member("tcp_retransmits", c.tcp_retransmits);
  json.member("tcp_timeouts", c.tcp_timeouts);
  json.member("tcp_spurious_retransmits", c.tcp_spurious_retransmits);
  json.member("tcp_undos", c.tcp_spurious);
  json.member("udp_in", c.udp_in);
  json.member("udp_out", c.udp_out);
  json.key("drops");
  json.begin_object();
  for (std::size_t i = 0; i < c.drops.size(); ++i) {
    if (c.drops[i] != 0) json.member(to_string(static_cast<DropReason>(i)), c.drops[i]);
  }
  json.end_object();
  json.end_object();
}

}  // namespace

std::string to_json(const RunReport& report) {
  JsonWriter json;
  json.begin_object();
  json.member("schema", "tidewire-run");
  json.member("schema_version", kSchemaVersion);
  json.member("tidewire", std::string_view(report.version));
  json.key("command");
  json.begin_array();
  for (const std::string& word : report.command) json.value(std::string_view(word));
  json.end_array();
  json.member("net", std::string_view(report.net));
  json.key("net_changes");
  json.begin_array();
  for (const NetChange& change : report.net_changes) {
    json.begin_object();
    json.member("at_us", change.at.count_micros());
    json.member("net", std::string_view(change.net));
    json.member("up", change.up);
    json.end_object();
  }
  json.end_array();
  json.member("seed", report.seed);
  json.member("backend", std::string_view(report.backend));
  json.member("congestion_control", std::string_view(report.congestion_control));
  json.member("started_unix_ns", report.started_wall_nanos);
  json.member("duration_us", report.duration.count_micros());
  json.member("exit_status", report.exit_status);
  json.key("flows");
  json.begin_array();
  for (const FlowRecord& flow : report.flows) write_flow(json, flow, report.started);
  json.end_array();
  json.member("flows_not_recorded", report.flows_not_recorded);
  json.key("link");
  json.begin_object();
  write_link(json, "up", report.up);
  write_link(json, "down", report.down);
  json.end_object();
  json.key("stacks");
  json.begin_object();
  write_stack(json, "host", report.host);
  write_stack(json, "gateway", report.gateway);
  json.end_object();
  json.end_object();
  return json.text();
}

}  // namespace tidewire::report
