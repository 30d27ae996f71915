#include "sim/arena.hpp"

#include <array>
#include <utility>

#include "device/wrap/materialise.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::sim {
namespace {

constexpr IpAddress kVictim = IpAddress::v4(10, 0, 0, 1);
constexpr IpAddress kHonest = IpAddress::v4(10, 0, 0, 2);
constexpr std::uint32_t kEcho = 1024;  // bytes each way

std::vector<std::byte> packet_of(const IpAddress& from, std::uint8_t protocol, Bytes payload) {
  wire::Ipv4Repr repr;
  repr.source = from;
  repr.destination = kVictim;
  repr.protocol = protocol;
  repr.payload_len = static_cast<std::uint16_t>(payload.size());
  std::vector<std::byte> packet(wire::header_len(repr) + payload.size());
  Writer writer{packet};
  wire::emit(repr, writer);
  writer.bytes(payload);
  return packet;
}

InterfaceId add_interface(Stack& stack, const IpAddress& address, Instant now) {
  const auto added = stack.add_interface(
      {.name = "arena0", .medium = Medium::ip, .mac = {}, .mtu = 1500, .trusted = false}, now);
  const InterfaceId id = added.value_or(kNoInterface);
  (void)stack.add_address(id, {address, 8}, now);
  return id;
}

}  // namespace

/// Cuts what a stack sends into packets and puts them in line.
struct Arena::Sink final : TxSink {
  explicit Sink(Arena& a) : arena(a) {}
  PushResult push(const TxFrame& frame) noexcept override {
    for (std::uint32_t i = 0; i < device::wire_packets(frame); ++i) {
      std::array<std::byte, 2048> packet;
      const std::size_t size = device::materialise(frame, i, packet);
      arena.under_way_.emplace_back(packet.begin(), packet.begin() + static_cast<long>(size));
    }
    return PushResult::taken;
  }
  Arena& arena;
};

Arena::Arena(std::uint64_t seed, const StackConfig& config, std::uint32_t backlog)
    : rng_(RandomSeed{seed, 3}),
      victim_(config, victim_memory_, RandomSeed{seed, 1}, now_),
      honest_({}, honest_memory_, RandomSeed{seed, 2}, now_) {
  victim_interface_ = add_interface(victim_, kVictim, now_);
  honest_interface_ = add_interface(honest_, kHonest, now_);
  listener_ = victim_.open(SocketKind::tcp, Family::v4).value_or(SocketId{});
  (void)victim_.bind(listener_, {{}, kPort}, now_);
  (void)victim_.listen(listener_, backlog, now_);
  old_ = honest_.open(SocketKind::tcp, Family::v4).value_or(SocketId{});
  (void)honest_.connect(old_, Endpoint{kVictim, kPort}, now_);
  settle();
  (void)old_connection_works();
}

void Arena::deliver(Stack& stack, InterfaceId interface, Bytes packet) {
  RxFrame frame;
  frame.head = packet;
  frame.ingress = now_;
  stack.on_frames(interface, {&frame, 1}, now_);
}

/// To whom a packet that is under way belongs; the attacker answers for all other addresses.
void Arena::route(Bytes packet) {
  const auto ip = wire::Ipv4View::parse(packet);
  if (!ip) return;
  if (ip->destination() == kVictim) return deliver(victim_, victim_interface_, packet);
  if (ip->destination() == kHonest) return deliver(honest_, honest_interface_, packet);
  ++answers_;
  const auto tcp = wire::TcpView::parse(ip->payload());
  if (ip->protocol() != wire::protocol::tcp || !tcp) return;
  last_ = Answer{wire::to_repr(*tcp), static_cast<std::uint32_t>(tcp->payload().size())};
}

void Arena::settle() {
  Sink sink{*this};
  const auto pump = [&](Stack& stack) {
    if (stack.next_deadline() <= now_) stack.on_timeout(now_);
    while (stack.poll_transmit(sink, now_) == Transmit::budget_spent) {
    }
    while (stack.poll_event()) {
    }
  };
  do {
    const auto packets = std::exchange(under_way_, {});
    for (const auto& packet : packets) route(packet);
    accept_all();
    pump(victim_);
    pump(honest_);
  } while (!under_way_.empty());
  most_memory_ = std::max(most_memory_, victim_memory_.in_use());
}

void Arena::accept_all() {
  while (const auto socket = victim_.accept(listener_, now_)) {
    last_accepted_ = *socket;
    const auto remote = victim_.remote_endpoint(*socket);
    (remote && remote->address == kHonest ? echoes_ : foes_).push_back(*socket);
  }
  // The victim's application sends back what the honest host sent.
  std::erase_if(echoes_, [this](SocketId socket) {
    std::array<std::byte, kEcho> text;
    while (const auto size = victim_.receive(socket, text, {}, now_)) {
      if (*size == 0) return victim_.close(socket, now_), true;
      (void)victim_.send(socket, Bytes{text}.first(*size), {}, now_);
    }
    return false;
  });
}

std::size_t Arena::sockets_left() const {
  std::size_t count = 0;
  for (auto s = victim_.next_socket({}); s; s = victim_.next_socket(s->id)) ++count;
  return count - 2;
}

void Arena::send(const IpAddress& from, const wire::TcpRepr& segment, std::uint32_t text_len) {
  std::vector<std::byte> bytes(wire::header_len(segment) + text_len);
  Writer writer{bytes};
  wire::emit(segment, writer, 0);
  wire::Checksum sum;
  sum.add_pseudo_header(from, kVictim, wire::protocol::tcp,
                        static_cast<std::uint32_t>(bytes.size()));
  sum.add(bytes);
  wire::store_u16(bytes.data() + wire::kTcpChecksumOffset, sum.finish());
  ++packets_;
  deliver(victim_, victim_interface_, packet_of(from, wire::protocol::tcp, bytes));
  settle();
}

void Arena::send_icmp(const IpAddress& from, const wire::Icmpv4Repr& message) {
  std::vector<std::byte> bytes(wire::kIcmpHeaderLen + message.payload.size());
  Writer writer{bytes};
  wire::emit(message, writer);
  ++packets_;
  deliver(victim_, victim_interface_, packet_of(from, wire::protocol::icmp, bytes));
  settle();
}

void Arena::send(Foe& foe, Seq ack, std::uint16_t window, const wire::TcpOptions& options,
                 std::uint32_t text_len) {
  wire::TcpRepr segment;
  segment.source_port = foe.port;
  segment.destination_port = kPort;
  segment.seq = foe.snd_nxt;
  segment.ack = ack;
  segment.flags = wire::TcpFlag::ack;
  segment.window = window;
  segment.options = options;
  foe.snd_nxt = foe.snd_nxt + text_len;
  send(foe.address, segment, text_len);
  note_progress(foe);
}

void Arena::note_progress(Foe& foe) const {
  if (!last_ || last_->header.destination_port != foe.port) return;
  const Seq end = last_->header.seq + last_->text_len;
  if (end.after(foe.rcv_nxt)) foe.rcv_nxt = end;
}

wire::TcpRepr Arena::syn(const Foe& foe, const wire::TcpOptions& options,
                         std::uint16_t window) const {
  wire::TcpRepr segment;
  segment.source_port = foe.port;
  segment.destination_port = kPort;
  segment.seq = foe.snd_nxt - 1;
  segment.flags = wire::TcpFlag::syn;
  segment.window = window;
  segment.options = options;
  return segment;
}

Foe Arena::connect(const wire::TcpOptions& options, std::uint16_t window) {
  Foe foe;
  foe.port = static_cast<std::uint16_t>(1024 + rng_.below(64'000));
  foe.address = IpAddress::v4(IpAddress::v4(10, 9, 0, 0).v4_value() +
                              static_cast<std::uint32_t>(1 + rng_.below(60'000)));
  last_.reset();
  send(foe.address, syn(foe, options, window));
  const auto answer = last_answer();
  if (!answer) return foe;
  foe.first = foe.rcv_nxt = answer->header.seq + 1;
  last_accepted_ = SocketId{};
  send(foe, foe.rcv_nxt, window);
  foe.served = last_accepted_;
  return foe;
}

void Arena::serve(Foe& foe) {
  static const std::vector<std::byte> text(65'536);
  while (victim_.send(foe.served, text, {}, now_)) {
  }
  settle();
  note_progress(foe);
}

void Arena::close_foes() {
  for (const SocketId socket : std::exchange(foes_, {})) victim_.close(socket, now_);
  settle();
}

void Arena::begin() {
  packets_ = answers_ = 0;
  most_memory_ = victim_memory_.in_use();
}

void Arena::pass(Duration time) {
  const Instant end = now_ + time;
  while (true) {
    const Instant next = earlier(victim_.next_deadline(), honest_.next_deadline());
    if (next > end) break;
    now_ = later(now_, next);
    settle();
  }
  now_ = end;
  settle();
}

bool Arena::echo(SocketId client) {
  const std::vector<std::byte> text(kEcho, std::byte{0x5a});
  std::size_t sent = 0, received = 0;
  for (int tenth = 0; tenth < 50 && received < kEcho; ++tenth) {
    if (sent < kEcho) {
      sent += honest_.send(client, Bytes{text}.subspan(sent), {}, now_).value_or(0);
    }
    pass(Duration::millis(100));
    std::array<std::byte, kEcho> back;
    received += honest_.receive(client, back, {}, now_).value_or(0);
  }
  return received == kEcho;
}

bool Arena::old_connection_works() { return echo(old_); }

bool Arena::serves_newcomers() {
  const auto client = honest_.open(SocketKind::tcp, Family::v4);
  if (!client) return false;
  (void)honest_.connect(*client, Endpoint{kVictim, kPort}, now_);
  settle();
  const bool good = echo(*client);
  honest_.close(*client, now_);
  settle();
  return good;
}

}  // namespace tidewire::sim
