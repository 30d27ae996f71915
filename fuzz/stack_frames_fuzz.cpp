// A whole stack under frames of all kinds, passing time, socket calls and a device that is full at
// times. Whatever leaves must be well formed, memory bounded, timers not in the past for ever.
//
// The input is a list of operations: a byte that says which, then its arguments.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "core/stack.hpp"
#include "fuzz.hpp"
#include "wire/arp.hpp"
#include "wire/checksum.hpp"
#include "wire/ethernet.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"

using namespace tidewire;

namespace {

constexpr std::size_t kMemory = 32U << 20;

/// Checks every frame that leaves.
class Checker final : public TxSink {
 public:
  explicit Checker(InterfaceId ethernet) noexcept : ethernet_(ethernet) {}

  PushResult push(const TxFrame& frame) noexcept override {
    if (room == 0) return PushResult::full;
    --room;
    std::vector<std::byte> bytes{frame.headers.begin(), frame.headers.end()};
    for (const Bytes part : frame.payload) bytes.insert(bytes.end(), part.begin(), part.end());
    Bytes packet{bytes};
    if (frame.interface == ethernet_) {
      const auto link = wire::EthernetView::parse(packet);
      fuzz::check(link.has_value() && !link->source().is_multicast());
      packet = link->payload();
      if (link->ether_type() == wire::EtherType::arp) {
        fuzz::check(wire::ArpView::parse(packet).has_value());
        return PushResult::taken;
      }
    }
    check_ip(packet, frame);
    return PushResult::taken;
  }
  std::uint64_t room = 0;

 private:
  void check_ip(Bytes packet, const TxFrame& frame) const {
    fuzz::check(!packet.empty());
    if (std::to_integer<unsigned>(packet[0]) >> 4 == 6) {
      fuzz::check(wire::Ipv6View::parse(packet).has_value());
      return;
    }
    const auto view = wire::Ipv4View::parse(packet);
    fuzz::check(view.has_value() && view->checksum_ok());
    fuzz::check(view->total_len() == packet.size() || frame.seg_size != 0);
    fuzz::check(!view->source().is_multicast() && !view->source().is_limited_broadcast());
    fuzz::check(!view->source().is_loopback() || frame.interface != ethernet_);
  }
  InterfaceId ethernet_;
};

class World {
 public:
  World() : memory_(kMemory), stack_(config(), memory_, {1, 2}, now_) {
    InterfaceConfig lo;
    lo.medium = Medium::ip;
    lo.mtu = 65'535;
    lo.loopback = lo.trusted = true;
    InterfaceConfig eth;
    eth.mac = MacAddress{{2, 0, 0, 0, 0, 1}};
    InterfaceConfig tun;
    tun.medium = Medium::ip;
    tun.mtu = 576;
    tun.trusted = true;
    for (const InterfaceConfig& c : {lo, eth, tun}) (void)stack_.add_interface(c, now_);
    (void)stack_.add_address(1, {IpAddress::v4(10, 0, 0, 1), 24}, now_);
    (void)stack_.add_address(2, {IpAddress::v4(10, 1, 0, 1), 24}, now_);
    (void)stack_.add_route({{IpAddress{}, 0}, IpAddress::v4(10, 0, 0, 254), 1, 0});
    open(SocketKind::udp, Family::v4, {IpAddress{}, 5000, 0});
    open(SocketKind::udp, Family::v6, {IpAddress::any(Family::v6), 5001, 0});
    open(SocketKind::icmp, Family::v4, {IpAddress{}, 7, 0});
    open(SocketKind::tcp, Family::v4, {IpAddress{}, 80, 0});
    (void)stack_.listen(sockets_.back(), 8, now_);
  }

  void run(Bytes input) {
    Reader reader{input};
    for (int i = 0; i < 256 && reader.remaining() != 0; ++i) {
      step(reader);
      fuzz::check(memory_.in_use() <= kMemory);
    }
    settle();
  }

 private:
  static StackConfig config() {
    StackConfig c;
    c.ip.reassembly_bytes = 1U << 20;
    c.ip.path_mtu_entries = 64;
    c.ip.neighbor_entries = 64;
    c.flows_pending_max = 16;
    return c;
  }
  void open(SocketKind kind, Family family, const Endpoint& local) {
    const auto socket = stack_.open(kind, family);
    if (!socket) return;
    (void)stack_.bind(*socket, local, now_);
    sockets_.push_back(*socket);
  }

  void step(Reader& reader) {
    switch (reader.u8() % 7) {
      case 0:
      case 1:
        return frame(reader);
      case 2:
        return pass(Duration::millis(reader.u16()));
      case 3:
        return poll(reader.u8());
      case 4:
        return call(reader);
      case 5:
        return event(reader.u8());
      default:
        return configure(reader.u8());
    }
  }

  void frame(Reader& reader) {
    const unsigned flags = reader.u8();
    const auto id = static_cast<InterfaceId>(flags % 3);
    const Bytes given =
        reader.take(std::min<std::size_t>(reader.u8() * std::size_t{8}, reader.remaining()));
    std::vector<std::byte> bytes{given.begin(), given.end()};
    if ((flags & 4) != 0) repair(bytes, id == 1 ? 14 : 0);
    RxFrame rx;
    rx.head = bytes;
    rx.ingress = now_;
    if ((flags & 8) != 0) {
      rx.seg_size = static_cast<std::uint16_t>(flags * 16);
      rx.segs = static_cast<std::uint16_t>(flags % 5);
    }
    if ((flags & 16) != 0) rx.checksum = ChecksumState::verified;
    if ((flags & 32) != 0 && bytes.size() > 64) {
      rx.head = Bytes{bytes}.first(64);
      rx.more[0] = Bytes{bytes}.subspan(64);
    }
    if ((flags & 64) == 0) return stack_.on_frames(id, {&rx, 1}, now_);
    batch(id, rx, bytes);
  }

  /// The frame, and in the same batch some that go on where its TCP text ends.
  void batch(InterfaceId id, const RxFrame& first, const std::vector<std::byte>& bytes) {
    constexpr std::size_t kFollowers = 4;
    const std::size_t ip = id == 1 ? 14 : 0;
    std::vector<std::vector<std::byte>> followers(kFollowers, bytes);
    std::vector<RxFrame> frames(1 + kFollowers, first);
    for (std::size_t i = 0; i < kFollowers; ++i) {
      std::vector<std::byte>& follower = followers[i];
      if (follower.size() >= ip + 40) {
        const auto text = static_cast<std::uint32_t>(follower.size() - ip - 20 -
                                                     (wire::load_u8(&follower[ip + 32]) >> 4) * 4U);
        const std::uint32_t seq = wire::load_u32(&follower[ip + 24]);
        wire::store_u32(&follower[ip + 24], seq + text * static_cast<std::uint32_t>(i + 1));
        repair(follower, ip);
      }
      frames[1 + i].head = follower;
      frames[1 + i].more = {};
    }
    stack_.on_frames(id, frames, now_);
  }

  /// So that mutations get past the checksums.
  static void repair(std::vector<std::byte>& bytes, std::size_t at) {
    if (bytes.size() < at + 20) return;
    std::byte* ip = bytes.data() + at;
    const std::size_t header = std::to_integer<std::size_t>(ip[0] & std::byte{15}) * 4;
    if (header < 20 || bytes.size() < at + header) return;
    wire::store_u16(ip + 10, 0);
    wire::store_u16(ip + 10, wire::internet_checksum({ip, header}));
    const MutBytes upper = MutBytes{bytes}.subspan(at + header);
    const auto protocol = wire::load_u8(ip + 9);
    const std::size_t field = protocol == 6 ? 16 : protocol == 17 ? 6 : 2;
    if (upper.size() < field + 2) return;
    wire::store_u16(upper.data() + field, 0);
    wire::Checksum sum;
    if (protocol == 6 || protocol == 17) {
      sum.add_pseudo_header(wire::load_ipv4(ip + 12), wire::load_ipv4(ip + 16), protocol,
                            static_cast<std::uint32_t>(upper.size()));
    }
    sum.add(upper);
    wire::store_u16(upper.data() + field, sum.finish());
  }

  void pass(Duration by) {
    now_ += by;
    int calls = 0;
    while (stack_.next_deadline() <= now_) {
      stack_.on_timeout(now_);
      fuzz::check(++calls < 10'000);
    }
  }

  void poll(unsigned room) {
    Checker sink{1};
    sink.room = room;
    (void)stack_.poll_transmit(sink, now_, {64, 1U << 20});
    for (InterfaceId id = 0; id < 3; ++id) stack_.on_writable(id, now_);
  }

  void call(Reader& reader) {
    const unsigned what = reader.u8();
    const SocketId socket = sockets_[what % sockets_.size()];
    std::array<std::byte, 2048> buffer{};
    DatagramTarget target;
    target.destination = Endpoint{IpAddress::v4(reader.u32()), reader.u16(), 0};
    const Bytes data = Bytes{buffer}.first(reader.u8() * std::size_t{8});
    switch (what / 8 % 6) {
      case 0:
        return (void)stack_.send_datagram(socket, {&data, 1}, target, now_);
      case 1:
        return (void)stack_.receive_datagram(socket, buffer, (what & 128) != 0, now_);
      case 2:
        return (void)stack_.connect(socket, target.destination, now_);
      case 3:
        return (void)stack_.receive(socket, buffer, {}, now_);
      case 4:
        return (void)stack_.send(socket, data, {}, now_);
      default:
        if (const auto accepted = stack_.accept(socket, now_)) sockets_.push_back(*accepted);
        (void)stack_.take_error_info(socket);
        (void)stack_.take_error(socket);
    }
  }

  void event(unsigned how) {
    const std::optional<Event> event = stack_.poll_event();
    if (!event || event->kind != Event::Kind::forward) return;
    if (how % 3 == 0) return stack_.forward_drop(event->flow);
    if (how % 3 == 1) return stack_.forward_reject(event->flow, ForwardReject::prohibited, now_);
    if (const auto socket = stack_.forward_accept(event->flow, now_)) sockets_.push_back(*socket);
  }

  void configure(unsigned what) {
    stack_.set_ip_forwarding((what & 1) != 0);
    ForwardPolicy policy;
    policy.tcp = policy.udp = policy.icmp_echo = (what & 2) != 0;
    policy.include_local = (what & 4) != 0;
    stack_.set_forwarding(2, policy);
    if ((what & 8) != 0)
      stack_.on_link(1, (what & 16) != 0 ? LinkState::up : LinkState::down, 1500, now_);
    const SocketId udp = sockets_[0];
    const IpAddress group = IpAddress::v4(239, 0, 0, what & 3);
    if ((what & 32) != 0) (void)stack_.join_group(udp, group, 1, now_);
    if ((what & 64) != 0) (void)stack_.leave_group(udp, group, 1, now_);
    memory_.set_failing((what & 192) == 192);
  }

  /// Everything stops in the end.
  void settle() {
    memory_.set_failing(false);
    for (const SocketId socket : sockets_) stack_.abort(socket, now_);
    for (int i = 0; i < 100; ++i) {
      poll(255);
      pass(Duration::seconds(10));
    }
  }

  HeapMemory memory_;
  Instant now_ = Instant::from_nanos(0);
  Stack stack_;
  std::vector<SocketId> sockets_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  world.run(as_bytes(data, size));
  return 0;
}
