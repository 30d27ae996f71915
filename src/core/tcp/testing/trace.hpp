// For tests that read as a trace: send this segment at t, expect that one.
//
//   S 0(0) win 65535 <mss 1460,sackOK,ws 7,ts 100>      a segment from the peer: trace.in(...)
//   S. 0(0) ack 1                                       what must leave next: trace.out(...)
//   E. 1(0) ack 1001 ecn 0                              with ECE, in a packet that is not ECT
//
// Flags (S F R P U .), first sequence number, text length in brackets. Numbers are relative: to the
// sender's own ISN, and an ACK to the other's. What an expectation does not mention is not checked
// (PSH, win, urg, options); "<none>" means: no options. Text is a pattern of its position in the
// stream and is checked on both ways.
#pragma once

#include <gtest/gtest.h>

#include <charconv>
#include <cstdio>
#include <source_location>
#include <sstream>
#include <string>
#include <string_view>

#include "core/tcp/testing/host.hpp"

namespace tidewire::tcp::testing {

/// One segment in words.
struct Words {
  wire::TcpFlags flags;
  bool push = false;
  std::optional<std::uint32_t> ecn;  ///< of the IP header: 0, 1, 2 or 3 (CE)
  std::uint32_t seq = 0, length = 0;
  std::optional<std::uint32_t> ack, win, urg;
  bool options_given = false;
  std::optional<std::uint32_t> mss, ws, ts, ecr;
  bool sack_ok = false;
  std::optional<wire::AccEcnOption> acc;  ///< "acc E0 CE E1" (order 0), as far as they are given
  std::optional<wire::FastOpenCookie> fast_open;  ///< "fo" asks, "fo 0102.." is one; or "exp"
  std::optional<std::uint32_t> uto;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> sack;

  static std::uint32_t number(std::string_view text) {
    long long value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return static_cast<std::uint32_t>(value);
  }
  void option(std::string_view text) {
    std::istringstream in{std::string{text}};
    std::string name, a, b;
    in >> name;
    if (name == "mss" && in >> a) mss = number(a);
    if (name == "ws" && in >> a) ws = number(a);
    if (name == "sackOK") sack_ok = true;
    if (name == "uto" && in >> a) uto = number(a);
    if (name == "fo" || name == "exp") {
      wire::FastOpenCookie& cookie = fast_open.emplace();
      cookie.octets.fill(std::byte{});
      cookie.experimental = name == "exp";
      if (in >> a) {
        for (std::size_t i = 0; i + 1 < a.size() && cookie.size < 16; i += 2) {
          unsigned octet = 0;
          std::from_chars(a.data() + i, a.data() + i + 2, octet, 16);
          cookie.octets[cookie.size++] = static_cast<std::byte>(octet);
        }
      }
    }
    if (name == "ts" && in >> a) {
      ts = number(a);
      if (in >> b) ecr = number(b);
    }
    if (name == "acc") {
      acc.emplace().fields = {};
      while (acc->count < 3 && in >> a) acc->fields[acc->count++] = number(a);
    }
    if (name == "sack") {
      while (in >> a) {
        const auto dash = a.find('-', 1);
        sack.emplace_back(number(a.substr(0, dash)), number(a.substr(dash + 1)));
      }
    }
  }
  explicit Words(std::string_view text) {
    std::string head{text};
    if (const auto open = head.find('<'); open != std::string::npos) {
      options_given = true;
      std::string list = head.substr(open + 1, head.find('>') - open - 1);
      head.resize(open);
      std::istringstream parts{list};
      for (std::string part; std::getline(parts, part, ',');) option(part);
    }
    std::istringstream in{head};
    std::string word, value;
    in >> word;
    for (const char c : word) {
      if (c == 'S') flags |= wire::TcpFlag::syn;
      if (c == 'F') flags |= wire::TcpFlag::fin;
      if (c == 'R') flags |= wire::TcpFlag::rst;
      if (c == 'U') flags |= wire::TcpFlag::urg;
      if (c == '.') flags |= wire::TcpFlag::ack;
      if (c == 'E') flags |= wire::TcpFlag::ece;
      if (c == 'W') flags |= wire::TcpFlag::cwr;
      if (c == 'A') flags |= wire::TcpFlag::ae;
      if (c == 'P') push = true;
    }
    in >> word;
    seq = number(word);
    length = number(word.substr(word.find('(') + 1));
    while (in >> word >> value) {
      if (word == "ack") ack = number(value);
      if (word == "win") win = number(value);
      if (word == "urg") urg = number(value);
      if (word == "ecn") ecn = number(value);
    }
  }
};

class Trace {
 public:
  static constexpr std::uint16_t kPeerPort = 5000, kPort = 80;
  using Where = std::source_location;

  explicit Trace(const StackConfig& config = {}) : host(config) {}

  static std::byte pattern(std::uint32_t position) {
    return static_cast<std::byte>((position * 7 + position / 256) & 0xff);
  }

  // --- segments ---
  WireSegment make(std::string_view text) {
    const Words w{text};
    wire::TcpRepr repr;
    repr.source_port = connected_out ? kPort : kPeerPort;
    repr.destination_port = connected_out ? local_port : kPort;
    repr.seq = peer_isn + w.seq;
    repr.flags = w.flags;
    if (w.push) repr.flags |= wire::TcpFlag::psh;
    if (w.ack) repr.ack = our_isn + *w.ack;
    repr.window = static_cast<std::uint16_t>(w.win.value_or(65'535));
    repr.urgent_pointer = static_cast<std::uint16_t>(w.urg.value_or(0));
    if (w.mss) repr.options.mss = static_cast<std::uint16_t>(*w.mss);
    if (w.ws) repr.options.window_scale = static_cast<std::uint8_t>(*w.ws);
    repr.options.sack_permitted = w.sack_ok;
    repr.options.acc_ecn = w.acc;
    repr.options.fast_open = w.fast_open;
    if (w.uto) repr.options.user_timeout = static_cast<std::uint16_t>(*w.uto);
    if (w.ts) repr.options.timestamps = wire::TcpTimestamps{*w.ts, w.ecr.value_or(last_tsval)};
    for (const auto& [from, to] : w.sack) {
      repr.options.sack.push_back({our_isn + from, our_isn + to});
    }
    WireSegment s;
    s.source = peer;
    s.destination = host.out.v4;
    s.tos = static_cast<std::uint8_t>(w.ecn.value_or(0));
    s.bytes.resize(wire::header_len(repr) + w.length);
    Writer writer{s.bytes};
    wire::emit(repr, writer, 0);
    const std::uint32_t first = w.flags.has(wire::TcpFlag::syn) ? w.seq + 1 : w.seq;
    for (std::uint32_t i = 0; i < w.length; ++i) {
      s.bytes[writer.written() + i] = pattern(first + i);
    }
    store_checksum(s);
    return s;
  }
  /// A segment arrives; what it causes is sent.
  void in(std::string_view text) {
    host.receive(make(text));
    poll();
  }
  /// The same, but nothing is polled: more arrives in the same batch.
  void in_batch(std::string_view text) { host.receive(make(text)); }
  void poll() { (void)host.poll(); }

  /// The next segment that left must look like this.
  void out(std::string_view text, Where where = Where::current()) {
    if (host.out.sent.empty()) poll();
    if (host.out.sent.empty()) {
      ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
          << "expected " << text << ", but nothing left";
      return;
    }
    last = host.out.sent.front();
    host.out.sent.pop_front();
    check(last, Words{text}, text, where);
  }
  void quiet(Where where = Where::current()) {
    poll();
    if (host.out.sent.empty()) return;
    std::string all;
    for (const WireSegment& s : host.out.sent) all += "\n  " + show(s);
    host.out.sent.clear();
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "nothing was to leave, but:" << all;
  }
  /// Forgets what left; returns how many segments.
  std::size_t skip() {
    poll();
    const std::size_t n = host.out.sent.size();
    host.out.sent.clear();
    return n;
  }

  std::string show(const WireSegment& s) const {
    const wire::TcpView v = s.view();
    std::string flags;
    for (const auto& [bit, name] : {std::pair{wire::TcpFlag::syn, 'S'},
                                    {wire::TcpFlag::fin, 'F'},
                                    {wire::TcpFlag::rst, 'R'},
                                    {wire::TcpFlag::psh, 'P'},
                                    {wire::TcpFlag::urg, 'U'},
                                    {wire::TcpFlag::ece, 'E'},
                                    {wire::TcpFlag::cwr, 'W'},
                                    {wire::TcpFlag::ae, 'A'},
                                    {wire::TcpFlag::ack, '.'}}) {
      if (v.has(bit)) flags += name;
    }
    std::ostringstream o;
    o << flags << ' ' << Seq::distance(our_isn, v.seq()) << '(' << s.text().size() << ')';
    if (v.has(wire::TcpFlag::ack)) o << " ack " << Seq::distance(peer_isn, v.ack());
    o << " ecn " << (s.tos & 3) << " win " << v.window() << " urg " << v.urgent_pointer() << " <";
    const auto options = wire::to_repr(v).options;
    if (options.mss) o << "mss " << *options.mss << ',';
    if (options.window_scale) o << "ws " << int{*options.window_scale} << ',';
    if (options.sack_permitted) o << "sackOK,";
    if (options.acc_ecn) {
      o << "acc";
      for (std::size_t i = 0; i < options.acc_ecn->count; ++i)
        o << ' ' << options.acc_ecn->fields[i];
      o << ',';
    }
    if (options.timestamps) o << "ts " << options.timestamps->echo << ',';
    if (options.fast_open) {
      o << (options.fast_open->experimental ? "exp" : "fo") << int{options.fast_open->size} << ',';
    }
    for (const auto& b : options.sack) {
      o << "sack " << Seq::distance(peer_isn, b.start) << '-' << Seq::distance(peer_isn, b.end)
        << ',';
    }
    o << "> at " << (s.at - start).count_millis() << " ms";
    return o.str();
  }

  // --- time, from the start of the trace ---
  Duration elapsed() const { return host.context.now - start; }
  void pass(std::int64_t ms) { host.run_until(host.context.now + Duration::millis(ms)); }
  void at(std::int64_t ms) { host.run_until(start + Duration::millis(ms)); }

  // --- the socket under test ---
  void listen() { listener = host.listen(kPort); }
  /// Passive open with a full handshake. `syn` and `options` are what the peer offers.
  void accept(std::string_view syn_options = "<mss 1460>", std::string_view win = "65535",
              std::string_view ack_options = "", Where where = Where::current()) {
    if (!listener) listen();
    const bool stamped = syn_options.find("ts") != std::string_view::npos;
    in("S 0(0) win " + std::string{win} + " " + std::string{syn_options});
    out("S. 0(0) ack 1", where);
    const std::string options =
        stamped && ack_options.empty() ? "<ts 101>" : std::string{ack_options};
    in(". 1(0) ack 1 win " + std::string{win} + " " + options);
    const auto accepted = host.engine.accept(listener);
    if (!accepted) {
      ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line())) << "nothing to accept";
      return;
    }
    socket = *accepted;
    quiet(where);
  }
  void start_connect() {
    connected_out = true;
    if (!socket) socket = host.open();
    EXPECT_TRUE(host.engine.connect(socket, Endpoint{peer, kPort, 0}));
    local_port = host.engine.info(socket)->local.port;
  }
  /// Active open with a full handshake.
  void connect(std::string_view options = "<mss 1460>") {
    start_connect();
    out("S 0(0)");
    in("S. 0(0) ack 1 win 65535 " + std::string{options});
    out(". 1(0) ack 1");
  }
  std::size_t write(std::size_t bytes, SendOptions options = {}) {
    std::vector<std::byte> data(bytes);
    for (std::size_t i = 0; i < bytes; ++i) {
      data[i] = pattern(static_cast<std::uint32_t>(1 + written + i));
    }
    const std::size_t n = host.engine.send(socket, data, options).value_or(0);
    written += n;
    poll();
    return n;
  }
  /// Reads at most so many bytes, checks them, and lets window updates leave.
  std::size_t read(std::size_t most = 1U << 20) {
    std::vector<std::byte> data(most);
    const std::size_t n = host.engine.receive(socket, data, {}).value_or(0);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(data[i], pattern(static_cast<std::uint32_t>(1 + consumed + i))) << "at " << i;
      if (data[i] != pattern(static_cast<std::uint32_t>(1 + consumed + i))) break;
    }
    consumed += n;
    poll();
    return n;
  }
  void close() {
    host.engine.close(socket);
    poll();
  }
  void shutdown() {
    EXPECT_TRUE(host.engine.shutdown(socket, ShutdownHow::write));
    poll();
  }
  void set(SocketOption option, std::int64_t value) {
    EXPECT_TRUE(host.engine.set_option(socket, option, value));
    poll();
  }
  TcpState state() const { return host.engine.info(socket)->state; }
  SocketError error() { return host.engine.take_error(socket); }
  std::uint16_t ready() const { return host.engine.readiness(socket); }
  /// States of all records.
  std::vector<TcpState> states() const {
    std::vector<TcpState> all;
    for (auto s = host.engine.next_socket({}); s; s = host.engine.next_socket(s->id)) {
      all.push_back(s->state);
    }
    return all;
  }

  Host host;
  IpAddress peer = IpAddress::v4(10, 0, 0, 2);
  Instant start = host.context.now;
  Seq peer_isn{5000}, our_isn{0};
  bool isn_known = false, connected_out = false;
  std::uint16_t local_port = 0;
  std::uint32_t last_tsval = 0;
  std::size_t written = 0, consumed = 0;
  SocketId listener, socket;
  WireSegment last;

 private:
  void learn(const WireSegment& s) {
    const wire::TcpView v = s.view();
    if (!isn_known && v.has(wire::TcpFlag::syn)) {
      our_isn = v.seq();
      isn_known = true;
    }
    if (const auto ts = wire::to_repr(v).options.timestamps) last_tsval = ts->value;
  }
  void check(const WireSegment& s, const Words& w, std::string_view text, Where where) {
    learn(s);
    const wire::TcpRepr r = wire::to_repr(s.view());
    bool good = r.flags.without(wire::TcpFlag::psh) == w.flags;
    good = good && (!w.push || r.flags.has(wire::TcpFlag::psh));
    const bool bare_reset = r.flags == wire::TcpFlags{wire::TcpFlag::rst} && !isn_known;
    good = good && (bare_reset || r.seq == our_isn + w.seq) && s.text().size() == w.length;
    if (w.ack) good = good && r.ack == peer_isn + *w.ack;
    if (w.win) good = good && r.window == *w.win;
    if (w.urg) good = good && r.urgent_pointer == *w.urg;
    if (w.ecn) good = good && (s.tos & 3U) == *w.ecn;
    if (w.options_given) good = good && options_match(r.options, w);
    const std::uint32_t first = w.flags.has(wire::TcpFlag::syn) ? w.seq + 1 : w.seq;
    for (std::uint32_t i = 0; good && i < w.length; ++i) {
      good = s.text()[i] == pattern(first + i);
    }
    if (good) return;
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "expected " << text << "\n     got " << show(s);
  }
  bool options_match(const wire::TcpOptions& o, const Words& w) const {
    const auto widen = [](const auto& v) {
      return v ? std::optional<std::uint32_t>{*v} : std::nullopt;
    };
    if (widen(o.mss) != w.mss || widen(o.window_scale) != w.ws) return false;
    if (o.sack_permitted != w.sack_ok || o.timestamps.has_value() != w.ts.has_value()) return false;
    if (w.ts && o.timestamps->echo != *w.ts) return false;  // what we echo
    if (w.acc && o.acc_ecn != w.acc) return false;
    if (o.fast_open != w.fast_open || widen(o.user_timeout) != w.uto) return false;
    if (o.sack.size() != w.sack.size()) return false;
    for (std::size_t i = 0; i < w.sack.size(); ++i) {
      if (o.sack[i].start != peer_isn + w.sack[i].first) return false;
      if (o.sack[i].end != peer_isn + w.sack[i].second) return false;
    }
    return true;
  }
};

}  // namespace tidewire::tcp::testing
