#include "runtime/joint.hpp"

#include <algorithm>

#include "wire/load.hpp"

namespace tidewire::runtime {
namespace {

constexpr std::size_t kBatch = 64;
constexpr std::size_t kBatches = 4;  // in one go, so that the other direction has its turn
constexpr std::size_t kLinkHeader = 14;
constexpr std::uint16_t kIpv4 = 0x0800;

bool is_ipv4(Bytes packet) noexcept {
  return packet.size() >= 20 && wire::load_u8(packet.data()) >> 4 == 4;
}

}  // namespace

Joint::Joint(Driver& driver, device::Device& outside, device::Device& link,
             const MacAddress& theirs)
    : driver_(driver),
      outside_(outside),
      link_(link),
      ethernet_(outside.capabilities().medium == Medium::ethernet) {
  if (ethernet_) {
    headers_.resize(kLinkHeader);
    const MacAddress ours = outside.capabilities().mac;
    const auto put = [this](const MacAddress& mac, std::size_t at) {
      std::ranges::transform(mac.octets, headers_.begin() + static_cast<std::ptrdiff_t>(at),
                             [](std::uint8_t octet) { return std::byte{octet}; });
    };
    put(theirs, 0);
    put(ours, 6);
    wire::store_u16(headers_.data() + 12, kIpv4);
  }
  if (auto watch = driver_.poller().add(outside_.descriptor(), kIoRead, *this)) watch_ = *watch;
  driver_.add_task(*this);
}

Joint::~Joint() {
  driver_.remove_task(*this);
  driver_.poller().remove(watch_);
}

void Joint::on_io(int, std::uint32_t ready, Instant) {
  if ((ready & ~std::uint32_t{kIoWrite}) != 0) readable_ = true;
  // An interface that is gone would be told of again and again.
  if ((ready & (kIoError | kIoHangUp)) != 0 && (ready & kIoRead) == 0) {
    driver_.poller().set(watch_, kIoNone);
  }
}

Instant Joint::next_deadline() {
  Instant next = outside_.next_deadline();
  // Frames that the device refuses wait for it, not for a time.
  if (due_.empty()) next = earlier(next, link_.next_deadline());
  return next;
}

void Joint::carry(Instant now) {
  outside_.advance(now);
  link_.advance(now);
  carry_in(now);
  carry_out(now);
  outside_.flush();
}

void Joint::carry_in(Instant now) {
  for (std::size_t batch = 0; readable_ && batch < kBatches; ++batch) {
    // A link that takes nothing lets the device's own queue grow.
    if (!link_.writable()) return;
    const auto frames = outside_.receive(now, kBatch);
    for (const RxFrame& frame : frames) take_in(frame);
    // A descriptor is level triggered: epoll tells again if something is left.
    readable_ = frames.size() == kBatch;
  }
}

void Joint::take_in(const RxFrame& frame) {
  RxFrame packet = frame;
  if (ethernet_) {
    const bool right = frame.head.size() > kLinkHeader &&
                       wire::load_u16(frame.head.data() + kLinkHeader - 2) == kIpv4;
    packet.head = right ? frame.head.subspan(kLinkHeader) : Bytes{};
  }
  if (!is_ipv4(packet.head)) {
    ++ignored_;
    return;
  }
  const TxFrame* super = nullptr;
  if (!device::RxSplitter::is_plain(packet)) super = splitter_.convert(packet, Medium::ip);
  if (super != nullptr) {
    link_.push(*super);
    return;
  }
  TxFrame plain;
  plain.headers = packet.head;
  plain.payload = packet.more;
  link_.push(plain);
}

void Joint::carry_out(Instant now) {
  for (std::size_t batch = 0; batch < kBatches; ++batch) {
    if (due_.empty()) due_ = link_.receive(now, kBatch);
    if (due_.empty()) break;
    while (!due_.empty()) {
      if (give_out(due_.front()) == PushResult::full) {
        wait_for_room(true);
        return;
      }
      due_ = due_.subspan(1);
    }
  }
  wait_for_room(false);
}

PushResult Joint::give_out(const RxFrame& frame) {
  const TxFrame* super = nullptr;
  if (!device::RxSplitter::is_plain(frame)) super = splitter_.convert(frame, Medium::ip);
  TxFrame out;
  if (super != nullptr) out = *super;
  if (super == nullptr) {
    out.headers = frame.head;
    out.payload = frame.more;
  }
  if (!ethernet_) return outside_.push(out);
  headers_.resize(kLinkHeader);
  headers_.insert(headers_.end(), out.headers.begin(), out.headers.end());
  out.headers = headers_;
  if (super != nullptr) {
    out.network_offset = static_cast<std::uint8_t>(out.network_offset + kLinkHeader);
    out.transport_offset = static_cast<std::uint8_t>(out.transport_offset + kLinkHeader);
  }
  return outside_.push(out);
}

void Joint::wait_for_room(bool wait) {
  if (waits_for_room_ == wait) return;
  waits_for_room_ = wait;
  driver_.poller().set(watch_, wait ? kIoRead | kIoWrite : std::uint32_t{kIoRead});
}

}  // namespace tidewire::runtime
