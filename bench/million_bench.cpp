// What idle connections cost one stack. The peers are segments written by hand: no second stack.
// Usage: million_bench [CASE [SECONDS [CORES [COUNT]]]]; virtual time, so SECONDS and CORES mean
// nothing here.
//   idle_connection_bytes  a kilobyte each way, then five idle minutes
//   million_connections    COUNT connections (1,000,000), ten idle minutes; what a new one costs
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "base/memory.hpp"
#include "core/counters.hpp"
#include "core/stack.hpp"
#include "report.hpp"
#include "runtime/pool_memory.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

namespace tidewire::bench {
namespace {

constexpr IpAddress kServer = IpAddress::v4(10, 0, 0, 1);
constexpr std::uint32_t kFirstPeer = 10U << 24 | 128U << 16;  // 10.128.0.0
constexpr std::uint32_t kPeerPorts = 16'384;                  // connections of one address
constexpr std::uint32_t kBatch = 64;
constexpr std::uint32_t kText = 1000;  // bytes of a message

/// A stack that listens on port 80, and all its peers.
class Crowd final : private TxSink {
 public:
  Crowd(std::uint32_t most, MemoryProvider& memory) : stack_(config(most), memory, {1, 2}, now_) {
    peers_.reserve(most);
    accepted_.reserve(most);
    const auto added = stack_.add_interface(
        {.name = "crowd0", .medium = Medium::ip, .mac = {}, .mtu = 1500, .trusted = false}, now_);
    must(added && stack_.add_address(*added, {kServer, 8}, now_), "add_address");
    interface_ = *added;
    const auto opened = stack_.open(SocketKind::tcp, Family::v4);
    must(opened && stack_.bind(*opened, {{}, 80}, now_), "bind");
    listener_ = *opened;
    must(static_cast<bool>(stack_.listen(listener_, kBatch, now_)), "listen");
  }

  /// `count` more connections, established and accepted. Returns the CPU seconds the stack took.
  double connect(std::uint32_t count) {
    double spent = 0;
    for (std::uint32_t done = 0; done < count; done += kBatch) {
      const auto first = static_cast<std::uint32_t>(peers_.size());
      const std::uint32_t size = std::min(kBatch, count - done);
      peers_.resize(first + size);
      for (std::uint32_t i = 0; i < size; ++i) write(first + i, wire::TcpFlag::syn, 0);
      spent += hand_over();
      for (std::uint32_t i = 0; i < size; ++i) {
        must(peers_[first + i].answered, "SYN-ACK");
        write(first + i, wire::TcpFlag::ack, 0);
      }
      spent += hand_over();
      spent += accept_all();
    }
    must(accepted_.size() == peers_.size(), "accept");
    return spent;
  }

  /// Every peer from `first` on sends a message, gets one and acknowledges it.
  void converse(std::uint32_t first) {
    const std::array<std::byte, kText> text{};
    std::array<std::byte, kText> got;
    for (std::uint32_t i = first; i < peers_.size(); i += kBatch) {
      const auto end =
          std::min<std::uint32_t>(i + kBatch, static_cast<std::uint32_t>(peers_.size()));
      for (std::uint32_t k = i; k < end; ++k) write(k, wire::TcpFlag::ack, kText);
      (void)hand_over();
      for (std::uint32_t k = i; k < end; ++k) {
        const SocketId socket = accepted_[k];
        must(stack_.receive(socket, got, {}, now_).value_or(0) == kText, "receive");
        must(stack_.send(socket, text, {}, now_).value_or(0) == kText, "send");
      }
      (void)hand_over();
      for (std::uint32_t k = i; k < end; ++k) write(k, wire::TcpFlag::ack, 0);
      (void)hand_over();
    }
  }

  /// Virtual time in which nobody sends anything.
  void idle(Duration time) {
    const Instant until = now_ + time;
    for (;;) {
      const Instant next = stack_.next_deadline();
      if (next > until) break;
      now_ = later(now_, next);
      stack_.on_timeout(now_);
      pull();
    }
    now_ = until;
  }

  std::uint64_t established() const {
    std::uint64_t count = 0;
    for (auto s = stack_.next_socket({}); s; s = stack_.next_socket(s->id)) {
      if (s->state == TcpState::established) ++count;
    }
    return count;
  }

 private:
  struct Peer {
    Seq snd_nxt{1000};
    Seq rcv_nxt;
    std::uint32_t ts_recent = 0;
    bool answered = false;
  };
  struct Packet {
    std::array<std::byte, 60 + 60 + kText> bytes;
    std::size_t size = 0;
  };
  struct Header {
    std::array<std::byte, 80> bytes;
    std::uint32_t text_len;
  };

  static StackConfig config(std::uint32_t most) {
    StackConfig config;
    config.sockets_max = most + 1;
    return config;
  }

  /// Puts a segment of peer `index` in line.
  void write(std::uint32_t index, wire::TcpFlag flag, std::uint32_t text_len) {
    Peer& peer = peers_[index];
    wire::TcpRepr tcp;
    tcp.source_port = static_cast<std::uint16_t>(1024 + index % kPeerPorts);
    tcp.destination_port = 80;
    tcp.seq = peer.snd_nxt;
    tcp.ack = peer.rcv_nxt;
    tcp.flags = flag;
    tcp.window = 0xffff;
    const auto clock = static_cast<std::uint32_t>(now_.nanos() / 1'000'000);
    tcp.options.timestamps = wire::TcpTimestamps{clock + 1, peer.ts_recent};
    if (flag == wire::TcpFlag::syn) {
      tcp.options.mss = 1460;
      tcp.options.window_scale = 7;
      tcp.options.sack_permitted = true;
    }
    peer.snd_nxt = peer.snd_nxt + text_len + (flag == wire::TcpFlag::syn ? 1 : 0);
    Packet& packet = packets_[waiting_++];
    Writer out{packet.bytes};
    wire::Ipv4Repr ip;
    ip.source = IpAddress::v4(kFirstPeer + index / kPeerPorts);
    ip.destination = kServer;
    ip.protocol = wire::protocol::tcp;
    ip.payload_len = static_cast<std::uint16_t>(wire::header_len(tcp) + text_len);
    wire::emit(ip, out);
    const std::array<std::byte, kText> zeros{};
    const std::array<Bytes, 1> text{Bytes{zeros}.first(text_len)};
    wire::emit(tcp, out, ip.source, ip.destination, text);
    out.bytes(text[0]);
    packet.size = out.written();
  }

  /// Gives the stack what is in line and takes what it sends; the CPU seconds it took.
  double hand_over() {
    now_ += Duration::micros(100);
    std::array<RxFrame, kBatch> frames;
    for (std::size_t i = 0; i < waiting_; ++i) {
      frames[i].head = Bytes{packets_[i].bytes}.first(packets_[i].size);
      frames[i].ingress = now_;
    }
    const double began = cpu_seconds();
    stack_.on_frames(interface_, std::span{frames}.first(waiting_), now_);
    if (stack_.next_deadline() <= now_) stack_.on_timeout(now_);
    pull();
    const double spent = cpu_seconds() - began;
    waiting_ = 0;
    for (std::size_t i = 0; i < sent_count_; ++i) note(sent_[i]);
    sent_count_ = 0;
    return spent;
  }
  double accept_all() {
    std::array<SocketId, kBatch> sockets;
    std::size_t count = 0;
    const double began = cpu_seconds();
    while (const auto socket = stack_.accept(listener_, now_)) sockets[count++] = *socket;
    const double spent = cpu_seconds() - began;
    accepted_.insert(accepted_.end(), sockets.begin(), sockets.begin() + count);
    return spent;
  }
  void pull() {
    while (stack_.poll_transmit(*this, now_) == Transmit::budget_spent) {
    }
    while (stack_.poll_event()) {
    }
  }
  PushResult push(const TxFrame& frame) noexcept override {
    must(sent_count_ < sent_.size() && frame.headers.size() <= sizeof(Header::bytes), "headers");
    Header& header = sent_[sent_count_++];
    std::copy(frame.headers.begin(), frame.headers.end(), header.bytes.begin());
    header.text_len = static_cast<std::uint32_t>(frame.payload_size());
    return PushResult::taken;
  }
  /// What the peer learns from a segment of the stack.
  void note(const Header& header) {
    const auto ip = wire::Ipv4View::parse(Bytes{header.bytes}, SIZE_MAX);
    must(static_cast<bool>(ip), "IPv4");
    const auto tcp = wire::TcpView::parse(Bytes{header.bytes}.subspan(wire::kIpv4MinHeaderLen));
    must(static_cast<bool>(tcp), "TCP");
    const std::uint32_t index =
        (ip->destination().v4_value() - kFirstPeer) * kPeerPorts + tcp->destination_port() - 1024U;
    must(index < peers_.size() && !tcp->has(wire::TcpFlag::rst), "a segment of the stack");
    Peer& peer = peers_[index];
    const wire::TcpRepr repr = wire::to_repr(*tcp);
    peer.answered = true;
    peer.rcv_nxt = repr.seq + header.text_len + (repr.flags.has(wire::TcpFlag::syn) ? 1 : 0);
    if (repr.options.timestamps) peer.ts_recent = repr.options.timestamps->value;
  }

  Instant now_ = Instant::from_nanos(0) + Duration::seconds(1);
  Stack stack_;
  InterfaceId interface_ = kNoInterface;
  SocketId listener_;
  std::vector<Peer> peers_;
  std::vector<SocketId> accepted_;
  std::vector<Packet> packets_{kBatch};
  std::size_t waiting_ = 0;
  std::vector<Header> sent_{std::size_t{4} * kBatch};
  std::size_t sent_count_ = 0;
};

int idle_connection_bytes() {
  constexpr std::uint32_t kBefore = 4096, kCount = 20'480;
  HeapMemory memory(std::size_t{1} << 30);
  Crowd crowd(kBefore + kCount, memory);
  (void)crowd.connect(kBefore);
  crowd.converse(0);
  crowd.idle(Duration::seconds(300));
  const std::size_t before = memory.in_use();
  (void)crowd.connect(kCount);
  crowd.converse(kBefore);
  crowd.idle(Duration::seconds(300));
  must(crowd.established() == kBefore + kCount, "staying established");
  print_row("idle_connection_bytes", static_cast<double>(memory.in_use() - before) / kCount,
            "bytes");
  return 0;
}

/// Connections that all rest; memory for them, and for a step of new ones, that was touched before.
class RestingCrowd {
 public:
  RestingCrowd(std::uint32_t count, std::uint32_t more)
      : memory_(room(count + more), room(count + more)), crowd_(count + more, memory_) {
    const std::size_t before = memory_.in_use();
    for (std::uint32_t done = 0; done < count; done += kStep) {
      (void)crowd_.connect(std::min(kStep, count - done));
      rest();
    }
    crowd_.idle(Duration::seconds(600));
    must(crowd_.established() == count, "staying established");
    bytes_ = memory_.in_use() - before;
  }

  /// CPU nanoseconds of each of `count` more.
  double connect(std::uint32_t count) {
    const double spent = crowd_.connect(count);
    rest();
    return spent / count * 1e9;
  }
  /// Bytes of those at rest.
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::uint32_t kStep = 8192;

  static std::size_t room(std::uint32_t count) {
    return (std::size_t{64} << 20) + std::size_t{count} * 384;
  }
  void rest() { crowd_.idle(Duration::seconds(10)); }

  runtime::PoolMemory memory_;
  Crowd crowd_;
  std::size_t bytes_ = 0;
};

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

int million_connections(std::uint32_t count) {
  constexpr std::uint32_t kSome = 1000, kTimed = 1024, kRounds = 7;
  must_have_memory(std::size_t{count} * 512);
  RestingCrowd few(kSome, kTimed * kRounds), many(count, kTimed * kRounds);
  std::vector<double> early, late;
  for (std::uint32_t i = 0; i < kRounds; ++i) {
    early.push_back(few.connect(kTimed));
    late.push_back(many.connect(kTimed));
  }
  print_row("million_connections_mib", static_cast<double>(many.bytes()) / 1048576, "MiB");
  print_row("million_connect_ns_1k", median(early), "ns");
  print_row("million_connect_ns_1m", median(late), "ns");
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  namespace bench = tidewire::bench;
  const std::string_view name = argc > 1 ? argv[1] : "";
  const std::uint32_t count =
      bench::argument(argc, argv, 4, "COUNT", 1'000'000U, 10'000U, 16'000'000U);
  if (argc > 5 || (argc > 1 && name != "idle_connection_bytes" && name != "million_connections")) {
    std::fputs(
        "usage: million_bench [idle_connection_bytes|million_connections "
        "[SECONDS [CORES [COUNT]]]]\n",
        stderr);
    return 2;
  }
  int status = 0;
  if (name != "million_connections") status = bench::idle_connection_bytes();
  if (status == 0 && name != "idle_connection_bytes") {
    status = bench::million_connections(count);
  }
  return status;
}
