// A model-based fuzzer of one stack: the input is a list of operations (time passes, a segment
// relative to the conversation arrives, a socket call), and invariants hold after each of them.
#include <algorithm>
#include <array>
#include <memory>

#include "core/stack.hpp"
#include "operations.hpp"

namespace tidewire {
namespace {

using fuzz::check;
using fuzz::Conversation;

constexpr std::size_t kMemory = std::size_t{4} << 20;
constexpr std::size_t kMostSockets = 24;

/// A socket that the application holds, and what the model knows about it.
struct Held {
  SocketId id;
  std::uint32_t sent = 0;  ///< bytes written: their low bits are the data
  std::optional<std::uint8_t> next_received;
  bool low_water = false;
};

StackConfig config(fuzz::Input& input) {
  StackConfig c;
  const std::uint8_t bits = input.u8();
  c.tcp.sack = (bits & 1) == 0;
  c.tcp.timestamps = (bits & 2) == 0;
  c.tcp.window_scaling = (bits & 4) == 0;
  c.tcp.congestion_control = (bits & 8) == 0 ? "cubic" : "reno";
  c.tcp.ecn = static_cast<EcnUse>(bits >> 4 & 3);
  c.tcp.mtu_probing = static_cast<MtuProbing>((bits >> 6) % 3);
  c.tcp.half_open_max = 16;
  c.sockets_max = 64;
  c.ip.reassembly_bytes = 128 << 10;
  return c;
}

class Run {
 public:
  Run(const std::uint8_t* data, std::size_t size) : input_(data, size), memory_(kMemory) {
    stack_ = std::make_unique<Stack>(config(input_), memory_, RandomSeed{1, 2}, now_);
    InterfaceConfig link;
    link.name = "fuzz0";
    link.medium = Medium::ip;
    link.mtu = input_.one_in(2) ? 576 : 1500;
    interface_ = stack_->add_interface(link, now_).value();
    check(stack_->add_address(interface_, {fuzz::kUs, 24}, now_).has_value());
    check(
        stack_->add_route({{IpAddress::any(Family::v4), 0}, std::nullopt, interface_}).has_value());
  }

  void go() {
    while (!input_.empty()) {
      step();
      verify();
    }
    finish();
  }

 private:
  void step() {
    const int operation = input_.u8() % 24;
    if (fuzz::tracing()) std::fprintf(stderr, "operation %d\n", operation);
    switch (operation) {
      case 0:
        return pass(Duration::micros(std::int64_t{1} << input_.below(36)));
      case 1:
        return pass(stack_->next_deadline() - now_);
      case 2:
      case 3:
        return transmit();
      case 4:
      case 5:
        return continue_stream();
      case 6:
        return mutated_segment();
      case 7:
        return syn();
      case 8:
        return answer_syn();
      case 9:
        return datagram();
      case 10:
        return icmp_error();
      case 11:
        return garbage();
      case 12:
        return fragment();
      case 13:
        return open();
      case 14:
        return listen();
      case 15:
        return connect();
      case 16:
        return accept();
      case 17:
        return send();
      case 18:
        return receive();
      case 19:
        return let_go();
      case 20:
        return option();
      case 21:
        return send_datagram();
      case 22:
        return trouble();
      default:
        return events();
    }
  }

  // --- time and frames ---

  void pass(Duration d) {
    if (d > Duration::zero() && d < Duration::seconds(200'000)) now_ = now_ + d;
    for (int i = 0; stack_->next_deadline() <= now_; ++i) {
      check(i < 1000);  // every call gets something done
      stack_->on_timeout(now_);
    }
  }
  void transmit() {
    TxBudget budget;
    if (input_.one_in(4)) budget = {1 + input_.below(3), 1U + input_.u16()};
    const std::uint64_t before = peer_.taken;
    const Transmit result = stack_->poll_transmit(peer_, now_, budget);
    // The fragments of one datagram leave together.
    check(peer_.taken - before <= std::uint64_t{budget.frames} + 128);
    check(result != Transmit::blocked || peer_.full);
  }
  void arrive(Bytes bytes) {
    if (fuzz::tracing()) {
      std::fprintf(stderr, "%lld us in  %s\n", static_cast<long long>(now_.nanos() / 1000),
                   wire::pretty(Medium::ip, bytes).c_str());
    }
    peer_.arrives(bytes);
    RxFrame frame;
    frame.head = bytes;
    frame.ingress = now_;
    stack_->on_frames(interface_, {&frame, 1}, now_);
  }

  wire::TcpRepr reply(const Conversation& c) {
    wire::TcpRepr repr;
    repr.source_port = c.peer_port;
    repr.destination_port = c.our_port;
    repr.seq = Seq{c.next_from_peer};
    repr.ack = Seq{c.next_from_us};
    repr.flags = wire::TcpFlag::ack;
    repr.window = 8192;
    if (c.timestamps) {
      repr.options.timestamps = {
          {static_cast<std::uint32_t>(now_.nanos() / 1'000'000), c.timestamp}};
    }
    return repr;
  }
  void continue_stream() {
    const Conversation* c = peer_.choose(input_);
    if (c == nullptr) return;
    wire::TcpRepr repr = reply(*c);
    const std::uint8_t bits = input_.u8();
    if ((bits & 1) != 0) repr.flags |= wire::TcpFlag::psh;
    if ((bits & 6) == 6) repr.flags |= wire::TcpFlag::fin;
    repr.window = (bits & 0x18) == 0x18 ? input_.u16() : 60'000;
    std::vector<std::byte> bytes =
        fuzz::segment(c->peer, repr, (bits & 0x20) != 0 ? input_.below(1000) : 0);
    bytes[1] = static_cast<std::byte>(bits >> 6);  // the ECN field
    fuzz::repair_checksums(bytes, 0);
    arrive(bytes);
  }
  std::uint32_t near(std::uint32_t number) {
    switch (input_.u8() % 4) {
      case 0:
        return number + static_cast<std::uint32_t>(static_cast<std::int8_t>(input_.u8()));
      case 1:
        return number + input_.u16();
      case 2:
        return number - input_.u16();
      default:
        return number + input_.u32();
    }
  }
  void mutated_segment() {
    const Conversation* c = peer_.choose(input_);
    if (c == nullptr) return;
    wire::TcpRepr repr = reply(*c);
    const std::uint8_t bits = input_.u8();
    if ((bits & 1) != 0) repr.seq = Seq{near(repr.seq.value())};
    if ((bits & 2) != 0) repr.ack = Seq{near(repr.ack.value())};
    if ((bits & 4) != 0) repr.flags = wire::TcpFlags::from_bits(input_.u16());
    if ((bits & 8) != 0) repr.window = input_.u16();
    if ((bits & 16) != 0) {
      repr.urgent_pointer = input_.u16();
      repr.flags |= wire::TcpFlag::urg;
    }
    if (repr.flags.has(wire::TcpFlag::urg)) urgent_ = true;
    if ((bits & 32) != 0) repr.options.timestamps = {{input_.u32(), near(c->timestamp)}};
    std::vector<std::byte> bytes = fuzz::segment(c->peer, repr, input_.below(600));
    if ((bits & 64) != 0 && bytes.size() > 60) {  // any options at all, in place of payload
      const std::size_t room = std::size_t{4} * input_.below(11);
      bytes[32] = static_cast<std::byte>((5 + room / 4) << 4);
      for (std::size_t i = 0; i < room && 40 + i < bytes.size(); ++i) {
        bytes[40 + i] = static_cast<std::byte>(input_.u8());
      }
      odd_payload_ = peer_.odd_options = true;
    }
    if ((bits & 128) != 0) bytes.resize(input_.below(static_cast<std::uint32_t>(bytes.size())));
    fuzz::repair_checksums(bytes, 0);
    arrive(bytes);
  }
  void syn() {
    wire::TcpRepr repr;
    repr.source_port = static_cast<std::uint16_t>(1 + input_.u8());
    repr.destination_port = static_cast<std::uint16_t>(1000 + input_.below(4));
    repr.seq = Seq{input_.u32()};
    repr.flags = wire::TcpFlag::syn;
    repr.window = input_.u16();
    const std::uint8_t bits = input_.u8();
    if ((bits & 1) != 0) repr.options.mss = input_.u16();
    if ((bits & 2) != 0) repr.options.window_scale = input_.u8();
    if ((bits & 4) != 0) repr.options.sack_permitted = true;
    if ((bits & 8) != 0) repr.options.timestamps = {{input_.u32(), 0}};
    if ((bits & 0x40) != 0) repr.flags |= wire::TcpFlag::ece | wire::TcpFlag::cwr;
    if ((bits & 0x80) != 0) repr.flags |= wire::TcpFlag::ae;
    arrive(fuzz::segment(peer_address(), repr, (bits & 0x30) == 0x30 ? input_.u8() : 0));
  }
  void answer_syn() {
    const Conversation* c = peer_.choose(input_);
    if (c == nullptr) return;
    wire::TcpRepr repr = reply(*c);
    repr.flags = input_.one_in(4) ? wire::TcpFlags{wire::TcpFlag::syn}
                                  : wire::TcpFlag::syn | wire::TcpFlag::ack;
    repr.seq = Seq{input_.u32()};
    repr.options.mss = static_cast<std::uint16_t>(input_.u16() | 1);
    if (input_.one_in(2)) repr.options.sack_permitted = true;
    arrive(fuzz::segment(c->peer, repr, 0));
  }
  void datagram() {
    const std::size_t size = input_.u8();
    std::vector<std::byte> body(8 + size);
    Writer out{body};
    out.u16(static_cast<std::uint16_t>(1 + input_.u8()));
    out.u16(static_cast<std::uint16_t>(1000 + input_.below(4)));
    out.u16(input_.one_in(8) ? input_.u16() : static_cast<std::uint16_t>(8 + size));
    out.u16(0);
    arrive(fuzz::packet(peer_address(), wire::protocol::udp, body));
  }
  void icmp_error() {
    const std::size_t quoted = std::min<std::size_t>(peer_.last_packet.size(), input_.u8());
    std::vector<std::byte> body(8 + quoted);
    Writer out{body};
    out.u8(input_.one_in(2) ? 3 : input_.u8());
    out.u8(input_.u8() & 0xf);
    out.u16(0);
    out.u32(input_.u16());
    out.bytes(Bytes{peer_.last_packet}.first(quoted));
    arrive(fuzz::packet(peer_address(), wire::protocol::icmp, body));
  }
  void garbage() {
    std::vector<std::byte> bytes(input_.u8());
    for (std::byte& b : bytes) b = static_cast<std::byte>(input_.u8());
    if (!bytes.empty() && input_.one_in(2)) bytes[0] = std::byte{0x45};
    fuzz::repair_checksums(bytes, 0);
    arrive(bytes);
  }
  void fragment() {
    std::vector<std::byte> body(input_.u8());
    std::vector<std::byte> bytes = fuzz::packet(peer_address(), wire::protocol::udp, body);
    wire::store_u16(bytes.data() + 4, input_.u8() & 3);
    wire::store_u16(bytes.data() + 6, input_.u16() & 0x3fff);
    wire::store_u16(bytes.data() + 10, 0);
    wire::store_u16(bytes.data() + 10, wire::internet_checksum(Bytes{bytes}.first(20)));
    arrive(bytes);
  }
  IpAddress peer_address() {
    return IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(2 + input_.below(3)));
  }

  // --- socket calls ---

  Held* choose() {
    if (held_.empty()) return nullptr;
    return &held_[input_.u8() % held_.size()];
  }
  void hold(SocketId id) { held_.push_back({id, 0, std::nullopt, false}); }
  void open() {
    if (held_.size() >= kMostSockets) return;
    const SocketKind kinds[] = {SocketKind::tcp, SocketKind::tcp, SocketKind::udp,
                                SocketKind::icmp};
    const auto id = stack_->open(kinds[input_.below(4)], Family::v4);
    if (id) hold(*id);
  }
  void listen() {
    const Held* h = choose();
    if (h == nullptr) return;
    const auto port = static_cast<std::uint16_t>(1000 + input_.below(4));
    (void)stack_->bind(h->id, {IpAddress::any(Family::v4), port}, now_);
    (void)stack_->listen(h->id, input_.u8() & 7, now_);
  }
  void connect() {
    const Held* h = choose();
    if (h == nullptr) return;
    const IpAddress to = input_.one_in(8) ? fuzz::kUs : peer_address();
    (void)stack_->connect(h->id, Endpoint{to, static_cast<std::uint16_t>(1000 + input_.below(4))},
                          now_);
  }
  void accept() {
    const Held* h = choose();
    if (h == nullptr || held_.size() >= kMostSockets) return;
    const auto id = stack_->accept(h->id, now_);
    if (id) hold(*id);
  }
  void send() {
    Held* h = choose();
    if (h == nullptr || h->id.kind != SocketKind::tcp) return;
    std::array<std::byte, 4096> data;
    const std::size_t size = 1 + input_.below(data.size() - 1);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(h->sent + i);
    SendOptions options;
    options.more = input_.one_in(4);
    const bool writable = (stack_->readiness(h->id) & kWritable) != 0;
    const auto sent = stack_->send(h->id, Bytes{data}.first(size), options, now_);
    if (sent) {
      check(*sent > 0 && *sent <= size);
      h->sent += static_cast<std::uint32_t>(*sent);
    } else if (writable && !failing_) {
      check(sent.error() != SocketError::would_block);
    }
  }
  void receive() {
    Held* h = choose();
    if (h == nullptr) return;
    std::array<std::byte, 2048> data;
    if (h->id.kind != SocketKind::tcp) {
      const auto info = stack_->receive_datagram(h->id, data, input_.one_in(4), now_);
      if (info) check(info->copied <= data.size() && info->copied <= info->size);
      return;
    }
    const std::size_t size = 1 + input_.below(data.size() - 1);
    const bool readable = (stack_->readiness(h->id) & kReadable) != 0;
    const auto got = stack_->receive(h->id, MutBytes{data}.first(size), {}, now_);
    if (!got) {
      check(!readable || got.error() != SocketError::would_block);
      return;
    }
    check(*got <= size);
    if (!h->low_water) check(readable);
    for (std::size_t i = 0; i < *got && !urgent_ && !odd_payload_; ++i) {
      const auto value = std::to_integer<std::uint8_t>(data[i]);
      if (h->next_received) check(value == *h->next_received);
      h->next_received = static_cast<std::uint8_t>(value + 1);
    }
  }
  void let_go() {
    Held* h = choose();
    if (h == nullptr) return;
    switch (input_.below(5)) {
      case 0:
        (void)stack_->shutdown(h->id, ShutdownHow::write, now_);
        return;
      case 1:
        (void)stack_->shutdown(h->id, ShutdownHow::read, now_);
        return;
      case 2:
        (void)stack_->shutdown(h->id, ShutdownHow::both, now_);
        return;
      case 3:
        stack_->abort(h->id, now_);
        break;
      default:
        stack_->close(h->id, now_);
        break;
    }
    check(!stack_->info(h->id));  // the id is stale now
    check(stack_->take_error(h->id) == SocketError::none ||
          stack_->take_error(h->id) == SocketError::unknown_socket);
    *h = held_.back();
    held_.pop_back();
  }
  void option() {
    Held* h = choose();
    if (h == nullptr) return;
    const auto option = static_cast<SocketOption>(
        input_.below(static_cast<std::uint32_t>(SocketOption::urgent_mark) + 1));
    if (option == SocketOption::receive_low_water) h->low_water = true;
    if (option == SocketOption::linger || input_.one_in(3)) {
      (void)stack_->get_option(h->id, option);
    } else {
      const std::int64_t value = input_.one_in(2) ? input_.u8() : std::int64_t{input_.u32()} << 4;
      (void)stack_->set_option(h->id, option, value, now_);
    }
  }
  void send_datagram() {
    const Held* h = choose();
    if (h == nullptr) return;
    std::vector<std::byte> data(input_.one_in(8) ? input_.u16() : input_.u8());
    const Bytes parts[] = {data};
    DatagramTarget target;
    if (input_.one_in(2)) {
      target.destination = Endpoint{peer_address(), static_cast<std::uint16_t>(input_.u8())};
    }
    if (input_.one_in(4)) target.segment_size = input_.u16();
    (void)stack_->send_datagram(h->id, parts, target, now_);
    if (input_.one_in(4)) {
      (void)stack_->join_group(h->id,
                               IpAddress::v4(224, 0, 0, static_cast<std::uint8_t>(input_.u8())),
                               interface_, now_);
    }
  }
  void trouble() {
    switch (input_.below(4)) {
      case 0:
        failing_ = !failing_;
        memory_.set_failing(failing_);
        return;
      case 1:
        peer_.full = !peer_.full;
        if (!peer_.full) stack_->on_writable(interface_, now_);
        return;
      case 2:
        return stack_->on_link(interface_, LinkState::down, 1500, now_);
      default:
        return stack_->on_link(interface_, LinkState::up, 576 + input_.u16() % 1000, now_);
    }
  }
  void events() {
    for (int i = 0; stack_->poll_event(); ++i) check(i < 10'000);
  }

  // --- what always holds ---

  void verify() {
    check(memory_.in_use() <= kMemory);
    std::size_t count = 0;
    for (auto s = stack_->next_socket({}); s; s = stack_->next_socket(s->id)) {
      check(++count < 10'000);
      check(s->send_unsent <= s->send_queue || s->state == TcpState::listen);
      check(s->local.port != 0 || s->state == TcpState::closed || s->protocol != Protocol::tcp);
    }
    for (const Held& h : held_) check(stack_->info(h.id).has_value());
  }

  /// The peer has fallen silent, the program lets go of everything: the stack comes to rest.
  void finish() {
    failing_ = false;
    memory_.set_failing(false);
    peer_.full = false;
    stack_->on_link(interface_, LinkState::up, 1500, now_);
    stack_->on_writable(interface_, now_);
    for (const Held& h : held_) stack_->close(h.id, now_);
    held_.clear();
    for (int i = 0;; ++i) {
      check(i < 100'000);
      while (stack_->poll_transmit(peer_, now_) == Transmit::budget_spent) {
      }
      events();
      const Instant next = stack_->next_deadline();
      if (next.is_never()) break;
      pass(next - now_);
    }
    check(!stack_->next_socket({}));
    stack_.reset();
    check(memory_.in_use() == 0);
  }

  fuzz::Input input_;
  HeapMemory memory_;
  Instant now_ = Instant::from_nanos(0) + Duration::seconds(1);
  std::unique_ptr<Stack> stack_;
  InterfaceId interface_ = kNoInterface;
  fuzz::Peer peer_;
  std::vector<Held> held_;
  bool failing_ = false;
  bool urgent_ = false;       ///< an urgent byte may be missing from a stream
  bool odd_payload_ = false;  ///< payload bytes may not follow their numbers
};

}  // namespace
}  // namespace tidewire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  tidewire::Run run{data, size};
  run.go();
  return 0;
}
