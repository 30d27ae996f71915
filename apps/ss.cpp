// tidewire ss: the sockets of running hosts.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/host_client.hpp"
#include "report/json_writer.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "As ss(8), for the sockets that programs under `tidewire run` have: those that are connected,\n"
    "with -l those that listen, with -a all. Queues are bytes (of a listener: connections that\n"
    "wait, and how many may); Cwnd is in segments, RTT and its variation in milliseconds; Retrans\n"
    "is under way/in all. Without HOST: all running hosts of this user.\n"
    "Examples:\n"
    "  tidewire ss\n"
    "  tidewire ss -tlp h1\n"
    "  tidewire ss -ti --json run-4711";

struct Options {
  std::string host;
  bool tcp = false;
  bool udp = false;
  bool listening = false;
  bool all = false;
  bool info = false;
  bool no_header = false;
  bool json = false;
  bool ignored = false;  ///< -n, -p: always so here
};

struct Answer {
  control::Record host;
  std::vector<control::Record> sockets;
};

bool is_wanted(const control::Record& socket, const Options& options) {
  const std::string_view protocol = socket.get("protocol");
  if ((options.tcp || options.udp) && !(options.tcp && protocol == "tcp") &&
      !(options.udp && protocol == "udp")) {
    return false;
  }
  if (options.all) return true;
  const std::string_view state = socket.get("state");
  const bool unconnected_udp = protocol != "tcp" && state == "UNCONN";
  if (options.listening) return state == "LISTEN" || unconnected_udp;
  // What ss calls connected.
  return state != "LISTEN" && state != "UNCONN" && state != "TIME-WAIT" && state != "SYN-RECV";
}

std::string endpoint(std::string_view address, std::string_view port) {
  const std::string shown = printable(port == "0" ? "*" : port);
  if (address.find(':') == std::string_view::npos) return printable(address) + ":" + shown;
  return "[" + printable(address) + "]:" + shown;
}

std::string millis(const control::Record& r, std::string_view name) {
  const std::uint64_t us = r.number(name).value_or(0);
  const std::uint64_t thousandths = us % 1000;
  return thousandths == 0 ? std::to_string(us / 1000)
                          : fmt::format("{}.{:03}", us / 1000, thousandths);
}

std::string users(const control::Record& s) {
  if (!s.has("program")) return "";
  std::string text = "users:((\"" + printable(s.get("program")) + "\"";
  if (s.has("pid")) {
    text += ",pid=" + printable(s.get("pid")) + ",fd=" + printable(s.get("fd"));
  }
  return text + "))";
}

/// The line that -i adds, in the words of ss(8).
std::string info_line(const control::Record& s) {
  if (!s.has("cwnd")) return "";
  std::string line = "\t " + printable(s.get("congestion_control"));
  const auto add = [&](const char* label, std::string_view name) {
    const std::string_view value = s.get(name);
    if (!value.empty() && value != "0") line += fmt::format(" {}:{}", label, printable(value));
  };
  const auto time = [&](const char* label, std::string_view name) {
    if (s.number(name).value_or(0) != 0) line += fmt::format(" {}:{}", label, millis(s, name));
  };
  if (s.get("timestamps") == "1") line += " ts";
  if (s.get("sack") == "1") line += " sack";
  if (s.get("ecn") != "off") line += " ecn:" + printable(s.get("ecn"));
  if (s.has("send_scale")) {
    line += fmt::format(" wscale:{},{}", printable(s.get("send_scale")),
                        printable(s.get("receive_scale")));
  }
  time("rto", "rto_us");
  add("backoff", "backoff");
  if (s.number("rtt_us").value_or(0) != 0) {
    line += fmt::format(" rtt:{}/{}", millis(s, "rtt_us"), millis(s, "rttvar_us"));
  }
  constexpr std::array<std::pair<const char*, const char*>, 23> kNumbers{{
      {"mss", "mss"},
      {"pmtu", "pmtu"},
      {"rcvmss", "rcv_mss"},
      {"cwnd", "cwnd"},
      {"ssthresh", "ssthresh"},
      {"bytes_sent", "bytes_sent"},
      {"bytes_retrans", "bytes_retrans"},
      {"bytes_acked", "bytes_acked"},
      {"bytes_received", "bytes_received"},
      {"segs_out", "segs_out"},
      {"segs_in", "segs_in"},
      {"data_segs_out", "data_segs_out"},
      {"data_segs_in", "data_segs_in"},
      {"unacked", "unacked"},
      {"lost", "lost"},
      {"sacked", "sacked"},
      {"dsack_dups", "dsack_dups"},
      {"timeouts", "timeouts"},
      {"reordering", "reordering"},
      {"notsent", "notsent"},
      {"snd_wnd", "snd_wnd"},
      {"rcv_wnd", "rcv_wnd"},
      {"limited_by", "limited_by"},
  }};
  for (const auto& [label, name] : kNumbers) add(label, name);
  for (const char* rate : {"pacing_rate", "delivery_rate"}) {
    const std::uint64_t bytes = s.number(rate).value_or(0);
    if (bytes != 0) line += fmt::format(" {} {}bps", rate, bytes * 8);
  }
  time("busy", "busy_us");
  time("minrtt", "min_rtt_us");
  return line + "\n";
}

using Row = std::vector<std::string>;

Row row_of(const std::string& host, const control::Record& s) {
  const bool connection = s.has("cwnd");
  return {host,
          printable(s.get("protocol")),
          printable(s.get("state")),
          printable(s.get("receive_queue")),
          printable(s.get("send_queue")),
          endpoint(s.get("local"), s.get("local_port")),
          endpoint(s.get("remote"), s.get("remote_port")),
          connection ? printable(s.get("cwnd")) : "",
          connection ? millis(s, "rtt_us") + "/" + millis(s, "rttvar_us") : "",
          connection ? printable(s.get("retrans_now")) + "/" + printable(s.get("retrans")) : "",
          users(s)};
}

void print_table(const std::vector<Answer>& answers, const Options& options) {
  std::vector<Row> rows{{"Host", "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port",
                         "Peer Address:Port", "Cwnd", "RTT", "Retrans", "Process"}};
  std::vector<std::string> infos{""};
  for (const Answer& answer : answers) {
    for (const control::Record& socket : answer.sockets) {
      rows.push_back(row_of(printable(answer.host.get("name")), socket));
      infos.push_back(options.info ? info_line(socket) : "");
    }
  }
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (std::size_t r = options.no_header ? 1 : 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      line += fmt::format("{:<{}}", rows[r][i], i + 1 == widths.size() ? 0 : widths[i] + 2);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n{}", line, infos[r]);
  }
}

void write_values(report::JsonWriter& json, const control::Record& record) {
  static const std::set<std::string, std::less<>> kTexts{
      "name",       "program",  "net",
      "link",       "protocol", "state",
      "local",      "remote",   "congestion_control",
      "limited_by", "ecn"};
  for (const auto& [name, value] : record.values()) {
    if (kTexts.contains(name)) {
      json.member(name, std::string_view(value));
    } else if (name == "timestamps" || name == "sack") {
      json.member(name, value == "1");
    } else {
      json.member(name, record.number(name).value_or(0));
    }
  }
}

void print_json(const std::vector<Answer>& answers) {
  report::JsonWriter json;
  json.begin_object();
  json.member("schema", "tidewire-ss");
  json.member("schema_version", 1);
  json.key("hosts");
  json.begin_array();
  for (const Answer& answer : answers) {
    json.begin_object();
    write_values(json, answer.host);
    json.key("sockets");
    json.begin_array();
    for (const control::Record& socket : answer.sockets) {
      json.begin_object();
      write_values(json, socket);
      json.end_object();
    }
    json.end_array();
    json.end_object();
  }
  json.end_array();
  json.end_object();
  fmt::print("{}", json.text());
}

Answer answer_of(std::vector<control::Record> records, const Options& options) {
  Answer answer;
  for (control::Record& record : records) {
    if (record.kind() == "host") {
      answer.host = std::move(record);
    } else if (record.kind() == "socket" && is_wanted(record, options)) {
      answer.sockets.push_back(std::move(record));
    }
  }
  return answer;
}

int list(const Options& options) {
  const control::Record request("sockets");
  std::vector<Answer> answers;
  if (!options.host.empty()) {
    control::Client host = connect_to_host(options.host);
    answers.push_back(answer_of(ask_host(host, request), options));
  } else {
    for (control::Client& host : connect_to_hosts()) {
      auto records = host.ask(request);
      // Of several, one that ends just now does not hide the others.
      if (records) {
        answers.push_back(answer_of(std::move(*records), options));
      } else if (!host.ended()) {
        fmt::print(stderr, "tidewire: {}\n", records.error());
      }
    }
    if (answers.empty()) fmt::print(stderr, "tidewire: no host is running\n");
  }
  if (options.json) {
    print_json(answers);
  } else {
    print_table(answers, options);
  }
  return 0;
}

}  // namespace

void add_ss(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("ss", "List the sockets of running hosts");
  command->footer(kFooter);
  command->add_option("host", options->host, "Only this one")->type_name("HOST");
  command->add_flag("-t,--tcp", options->tcp, "TCP");
  command->add_flag("-u,--udp", options->udp, "UDP");
  command->add_flag("-l,--listening", options->listening,
                    "Those that listen, or wait for datagrams");
  command->add_flag("-a,--all", options->all, "In every state");
  command->add_flag("-i,--info", options->info, "What TCP knows of each connection");
  command->add_flag("-n,--numeric", options->ignored, "Accepted: numbers are never looked up");
  command->add_flag("-p,--processes", options->ignored, "Accepted: processes are always shown");
  command->add_flag("-H,--no-header", options->no_header, "Print no header");
  command->add_flag("--json", options->json, "Print JSON; docs/hosts.md describes it");
  command->callback([options, &status] { status = list(*options); });
}

}  // namespace tidewire::apps
