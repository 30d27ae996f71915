// Two stacks exchange data while the input corrupts, drops, repeats, reorders and invents their
// frames. With checksums left wrong every byte must arrive intact or the end be told; with repaired
// checksums (the mutations reach the state machines) nothing may break or hang.
#include <array>
#include <deque>
#include <memory>
#include <utility>

#include "device/wrap/materialise.hpp"
#include "fuzz.hpp"
#include "input.hpp"
#include "sim/apps.hpp"
#include "wire/pretty.hpp"

namespace tidewire {
namespace {

using fuzz::check;
using Frame = std::vector<std::byte>;

constexpr Duration kDelay = Duration::millis(5);

struct Sent {
  Instant arrives;
  Frame bytes;
};

/// What both directions share.
struct Mill {
  fuzz::Input input;
  bool repair = false;
  bool ethernet = true;
  std::size_t mutations = 0;
  std::deque<Frame> earlier{};

  std::size_t link() const { return ethernet ? 14 : 0; }
};

/// One end of the pair. Its pushes go to the other end's queue, by way of the input.
class End final : public device::Device {
 public:
  End(Mill& mill, std::uint8_t number) : mill_(mill), number_(number) {}
  void join(End& other) { other_ = &other; }

  device::Capabilities capabilities() const noexcept override {
    device::Capabilities can;
    can.medium = mill_.ethernet ? Medium::ethernet : Medium::ip;
    can.mac = {{2, 0, 0, 0, 0, number_}};
    can.mtu = 700;
    return can;
  }
  std::string_view name() const noexcept override { return "end"; }
  void advance(Instant now) noexcept override { now_ = later(now_, now); }
  PushResult push(const TxFrame& frame) noexcept override {
    for (std::uint32_t i = 0; i < device::wire_packets(frame); ++i) {
      Frame bytes(device::wire_packet_size(frame, i));
      check(device::materialise(frame, i, bytes) == bytes.size());
      mill_.earlier.push_back(bytes);
      if (mill_.earlier.size() > 8) mill_.earlier.pop_front();
      send(std::move(bytes));
    }
    return PushResult::taken;
  }
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    advance(now);
    lent_.clear();
    frames_.clear();
    while (lent_.size() < limit && !queue_.empty() && queue_.front().arrives <= now_) {
      lent_.push_back(std::move(queue_.front().bytes));
      queue_.pop_front();
    }
    for (const Frame& bytes : lent_) {
      RxFrame frame;
      frame.head = bytes;
      frame.ingress = now_;
      frames_.push_back(frame);
    }
    return frames_;
  }
  Instant next_deadline() noexcept override {
    return queue_.empty() ? Instant::never() : queue_.front().arrives;
  }

 private:
  void send(Frame bytes) {
    const std::uint8_t what = mill_.input.u8();
    switch (what % 16) {
      case 8:
        return;  // lost
      case 9:
        deliver(bytes);
        break;
      case 10:
        held_.push_back(std::move(bytes));
        return;
      case 11:
        corrupt(bytes);
        break;
      case 12:
        cut(bytes);
        break;
      case 13:
        change_number(bytes);
        break;
      case 14:
        change_flags(bytes);
        break;
      case 15:
        repeat_old();
        break;
      default:
        break;
    }
    deliver(std::move(bytes));
    for (Frame& held : std::exchange(held_, {})) deliver(std::move(held));
  }
  void deliver(Frame bytes) {
    if (fuzz::tracing()) {
      std::fprintf(stderr, "%lld us %d %s\n", static_cast<long long>(now_.nanos() / 1000), number_,
                   wire::pretty(mill_.ethernet ? Medium::ethernet : Medium::ip, bytes).c_str());
    }
    other_->queue_.push_back({now_ + kDelay, std::move(bytes)});
  }
  void mutated(Frame& bytes) {
    ++mill_.mutations;
    if (mill_.repair) fuzz::repair_checksums(bytes, mill_.link());
  }
  bool is_tcp(const Frame& bytes) const {
    return bytes.size() >= mill_.link() + 40 &&
           (mill_.link() == 0 || wire::load_u16(bytes.data() + 12) == 0x0800) &&
           wire::load_u8(bytes.data() + mill_.link() + 9) == 6;
  }
  void corrupt(Frame& bytes) {
    if (!mill_.repair && !is_tcp(bytes)) return;  // ARP has no checksum
    const std::size_t room = bytes.size() - mill_.link();
    const std::size_t at = mill_.link() + mill_.input.u16() % room;
    bytes[at] ^= std::byte{static_cast<std::uint8_t>(mill_.input.u8() | 1)};
    mutated(bytes);
  }
  void cut(Frame& bytes) {
    if (!mill_.repair && !is_tcp(bytes)) return;
    bytes.resize(mill_.input.u16() % bytes.size());
    mutated(bytes);
  }
  void change_number(Frame& bytes) {
    if (!is_tcp(bytes)) return;
    const std::size_t field = mill_.link() + 20 + (mill_.input.one_in(2) ? 4 : 8);
    const auto delta =
        static_cast<std::uint32_t>(int{static_cast<std::int8_t>(mill_.input.u8() | 1)});
    const std::uint32_t scale = mill_.repair && mill_.input.one_in(4) ? 1U << 20 : 1;
    wire::store_u32(bytes.data() + field, wire::load_u32(bytes.data() + field) + delta * scale);
    mutated(bytes);
  }
  void change_flags(Frame& bytes) {
    if (!is_tcp(bytes)) return;
    bytes[mill_.link() + 33] ^= std::byte{static_cast<std::uint8_t>(mill_.input.u8() | 1)};
    mutated(bytes);
  }
  void repeat_old() {
    if (mill_.earlier.empty()) return;
    Frame old = mill_.earlier[mill_.input.u8() % mill_.earlier.size()];
    if (mill_.repair && mill_.input.one_in(2)) change_number(old);
    deliver(std::move(old));
  }

  Mill& mill_;
  std::uint8_t number_;
  End* other_ = nullptr;
  Instant now_;
  std::deque<Sent> queue_;
  std::vector<Frame> held_;
  std::vector<Frame> lent_;
  std::vector<RxFrame> frames_;
};

sim::HostOptions host_options(fuzz::Input& input) {
  sim::HostOptions options;
  options.memory_cap = std::size_t{8} << 20;
  const std::uint8_t bits = input.u8();
  TcpConfig& tcp = options.stack.tcp;
  tcp.sack = (bits & 1) == 0;
  tcp.timestamps = (bits & 2) == 0;
  tcp.window_scaling = (bits & 4) == 0;
  tcp.nagle = (bits & 8) == 0;
  tcp.congestion_control = (bits & 16) == 0 ? "cubic" : "reno";
  tcp.ecn = static_cast<EcnUse>(bits >> 5 & 3);
  tcp.mtu_probing = (bits & 128) == 0 ? MtuProbing::black_hole : MtuProbing::always;
  return options;
}

sim::StreamPlan plan(fuzz::Input& input, std::uint64_t sends, std::uint64_t expects) {
  sim::StreamPlan plan;
  plan.send_total = input.below(12'000);
  plan.send_seed = sends;
  plan.expect_seed = expects;
  const std::uint8_t bits = input.u8();
  plan.in_place = (bits & 1) != 0;
  plan.answer_first = (bits & 2) != 0;
  if ((bits & 4) != 0) plan.receive_buffer = 2304;
  if ((bits & 8) != 0) plan.read_pause = Duration::millis(20);
  plan.keep_alive = true;
  return plan;
}

class Pair {
 public:
  Pair(const std::uint8_t* data, std::size_t size) : mill_{.input = {data, size}} {
    const std::uint8_t bits = mill_.input.u8();
    mill_.repair = (bits & 1) != 0;
    mill_.ethernet = (bits & 2) != 0;
    auto a = std::make_unique<End>(mill_, std::uint8_t{1});
    auto b = std::make_unique<End>(mill_, std::uint8_t{2});
    a->join(*b);
    b->join(*a);
    const sim::HostOptions host = host_options(mill_.input);
    for (auto* end : {&a, &b}) {
      const std::uint64_t number = hosts_.size() + 1;
      hosts_.push_back(std::make_unique<sim::Host>("host", host, RandomSeed{number, 9},
                                                   sim::AdversaryOptions{}, now_));
      hosts_.back()->attach(std::move(*end),
                            IpCidr{IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(number)), 24});
    }
  }

  void run() {
    sim::StreamPlan client_plan = plan(mill_.input, 1, 2);
    sim::StreamPlan server_plan = plan(mill_.input, 2, 1);
    if (client_plan.answer_first) server_plan.answer_first = false;
    server_ =
        &hosts_[1]->add<sim::StreamServer>(Endpoint{IpAddress::any(Family::v4), 80}, server_plan);
    client_ = &hosts_[0]->add<sim::StreamPeer>(client_plan);
    client_->connect({IpAddress::v4(10, 0, 0, 2), 80});
    const bool ended = advance();
    verify(client_plan, server_plan, ended);
  }

 private:
  bool finished() const {
    if (!client_->done()) return false;
    for (const sim::StreamPeer* peer : server_->accepted()) {
      if (!peer->done()) return false;
    }
    return true;
  }
  /// True if all ended; false if the virtual day ran out.
  bool advance() {
    const Instant end = now_ + Duration::seconds(86'400);
    for (int step = 0; step < 200'000; ++step) {
      for (const auto& host : hosts_) host->turn(now_);
      if (finished()) return true;
      Instant next = Instant::never();
      for (const auto& host : hosts_) next = earlier(next, host->next_deadline());
      if (next > end) return false;
      now_ = later(now_, next);
    }
    check(false);  // busy without getting anywhere
    return false;
  }
  void verify(const sim::StreamPlan& client_plan, const sim::StreamPlan& server_plan, bool ended) {
    for (const auto& host : hosts_) check(host->memory().in_use() <= host->memory().capacity());
    // A segment that was changed and looks right can take the place of a FIN: then both ends wait,
    // at rest, for as long as keepalives are answered.
    if (mill_.repair && mill_.mutations != 0) return;
    check(ended);
    check(client_->intact());
    if (client_->saw_end()) check(client_->bytes_received() == server_plan.send_total);
    for (const sim::StreamPeer* peer : server_->accepted()) {
      check(peer->intact());
      if (peer->saw_end()) check(peer->bytes_received() == client_plan.send_total);
    }
  }

  Mill mill_;
  Instant now_ = Instant::from_nanos(0) + Duration::seconds(1);
  std::vector<std::unique_ptr<sim::Host>> hosts_;
  sim::StreamServer* server_ = nullptr;
  sim::StreamPeer* client_ = nullptr;
};

}  // namespace
}  // namespace tidewire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  tidewire::Pair pair{data, size};
  pair.run();
  return 0;
}
