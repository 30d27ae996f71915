#include "device/backends/af_xdp.hpp"

#include <errno.h>
#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "device/backends/af_xdp_program.hpp"
#include "device/backends/af_xdp_rings.hpp"
#include "device/wrap/materialise.hpp"

namespace tidewire::device {
namespace {

constexpr std::uint32_t kLinkHeader = 14;
constexpr std::uint32_t kRoomInFront = 256;  // XDP_PACKET_HEADROOM, in every received frame
constexpr std::uint32_t kGreatestMtu = 4096 - kRoomInFront - kLinkHeader;
constexpr std::uint32_t kBatch = 64;
constexpr Duration kLookEvery = Duration::millis(250);
constexpr Duration kRetry = Duration::micros(50);  // of what the kernel did not send yet

class XdpSocket final : public Xdp {
 public:
  XdpSocket(const XdpOptions& options, XdpRings rings, XdpProgram program,
            const Capabilities& capabilities, bool zero_copy)
      : name_(options.interface),
        program_(std::move(program)),
        rings_(std::move(rings)),
        capabilities_(capabilities),
        zero_copy_(zero_copy) {
    constexpr std::uint64_t kFrames = XdpRings::kFrames;
    for (std::uint64_t i = 0; i < kFrames; ++i) rings_.fill.put(i * rings_.frame_size);
    rings_.fill.publish();
    for (std::uint64_t i = kFrames; i < 2 * kFrames; ++i) free_.push_back(i * rings_.frame_size);
    frames_.reserve(kBatch);
    lent_.reserve(kBatch);
    up_ = interface_is_up(name_);
  }

  std::string_view name() const noexcept override { return name_; }
  Capabilities capabilities() const noexcept override { return capabilities_; }
  int descriptor() const noexcept override { return rings_.socket.get(); }
  bool link_up() const noexcept override { return up_; }
  const XdpCounters& counters() const noexcept override { return counters_; }
  bool zero_copy() const noexcept override { return zero_copy_; }
  bool native() const noexcept override { return program_.native; }

  void advance(Instant now) noexcept override {
    now_ = later(now_, now);
    if (now < next_look_) return;
    next_look_ = now + kLookEvery;
    up_ = interface_is_up(name_);
  }
  PushResult push(const TxFrame& frame) noexcept override;
  void flush() noexcept override;
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override;
  bool writable() noexcept override {
    reap();
    return !free_.empty();
  }
  Instant next_deadline() noexcept override { return unsent_ ? now_ + kRetry : Instant::never(); }

 private:
  void reap() noexcept;

  std::string name_;
  XdpProgram program_;
  XdpRings rings_;
  Capabilities capabilities_;
  bool zero_copy_;
  XdpCounters counters_;
  std::vector<std::uint64_t> free_;  ///< frames to send with
  std::vector<std::uint64_t> lent_;  ///< frames that the stack may be looking at
  std::vector<RxFrame> frames_;
  std::uint32_t unpublished_ = 0;
  bool unsent_ = false;
  Instant now_;
  Instant next_look_;
  bool up_ = true;
};

void XdpSocket::reap() noexcept {
  const std::uint32_t done = rings_.completion.available();
  for (std::uint32_t i = 0; i < done; ++i) free_.push_back(rings_.completion.take());
  if (done != 0) rings_.completion.release();
}

PushResult XdpSocket::push(const TxFrame& frame) noexcept {
  if (free_.empty()) {
    flush();
    reap();
    if (free_.empty() || rings_.transmit.room() == 0) {
      ++counters_.full;
      return PushResult::full;
    }
  }
  const std::uint64_t address = free_.back();
  const std::size_t size = gather(frame, rings_.frame(address));
  if (size == 0) {
    ++counters_.too_long;
    return PushResult::taken;
  }
  free_.pop_back();
  // As many frames as the ring has entries: there is always one.
  rings_.transmit.put({.addr = address, .len = static_cast<std::uint32_t>(size), .options = 0});
  ++counters_.frames_out;
  if (++unpublished_ >= kBatch) flush();
  return PushResult::taken;
}

void XdpSocket::flush() noexcept {
  if (unpublished_ == 0 && !unsent_) return;
  if (unpublished_ != 0) rings_.transmit.publish();
  unpublished_ = 0;
  ++counters_.kicks;
  unsent_ = !rings_.kick();
  reap();
}

std::span<const RxFrame> XdpSocket::receive(Instant now, std::size_t limit) noexcept {
  advance(now);
  for (const std::uint64_t address : lent_) rings_.fill.put(address);
  if (!lent_.empty()) rings_.fill.publish();
  lent_.clear();
  frames_.clear();
  std::uint32_t count = rings_.receive.available();
  count =
      std::min({count, kBatch, static_cast<std::uint32_t>(std::min<std::size_t>(limit, kBatch))});
  for (std::uint32_t i = 0; i < count; ++i) {
    const xdp_desc received = rings_.receive.take();
    RxFrame frame;
    frame.head = Bytes{rings_.memory.data() + received.addr, received.len};
    frame.ingress = now_;
    frames_.push_back(frame);
    // The frame's beginning, whatever room was left in front of the packet.
    lent_.push_back(received.addr & ~std::uint64_t{rings_.frame_size - 1});
  }
  if (count != 0) {
    rings_.receive.release();
  } else if (rings_.fill.needs_wakeup()) {
    rings_.wake_receiver();  // a driver with zero copy ran out of frames
  }
  counters_.frames_in += count;
  return frames_;
}

// --- opening ---

std::string cannot(const char* step, const XdpOptions& options, int error) {
  return "cannot " + std::string(step) + " " + options.interface + ": " + error_text(error);
}

std::string with_way_out(std::string text, const XdpOptions& options, int error) {
  const std::string queue = std::to_string(options.queue);
  switch (error) {
    case EPERM:
    case EACCES:
      return text + "; it needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF: run with sudo";
    case EBUSY:
    case EEXIST:
      return text + "; another program has queue " + queue +
             " or an XDP program there: end it, or sudo ip link set dev " + options.interface +
             " xdp off";
    case EAFNOSUPPORT:
      return text + "; this kernel has no AF_XDP: use veth:" + options.interface;
    case EOPNOTSUPP:
    case EINVAL:
      return text + "; the driver has no such thing, or no queue " + queue +
             " (ethtool -l): use veth:" + options.interface;
    case ENOMEM:
    case ENOBUFS:
      return text + "; raise the limit of locked memory: ulimit -l unlimited";
    default:
      return text + "; use veth:" + options.interface;
  }
}

/// Binds to the queue and says whether without copies; else why not. The kernel gives a queue back
/// a little after the process that had it ended: it is asked again for a while.
Result<bool, int> bind_queue(XdpRings& rings, unsigned index, const XdpOptions& options,
                             bool zero_copy) {
  constexpr int kTries = 100;
  constexpr auto kBetween = std::chrono::milliseconds(20);
  int error = 0;
  for (int i = 0; i < kTries; ++i) {
    if (i > 0) std::this_thread::sleep_for(kBetween);
    error = zero_copy ? rings.bind(index, options.queue, true) : EOPNOTSUPP;
    if (error == 0) return true;
    if (error != EBUSY) error = rings.bind(index, options.queue, false);
    if (error == 0) return false;
    if (error != EBUSY) break;
  }
  return fail(error);
}

/// How many receive queues an interface has.
unsigned queues_of(const std::string& interface) {
  unsigned count = 0;
  std::error_code error;
  const std::filesystem::path folder = "/sys/class/net/" + interface + "/queues";
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with("rx-")) ++count;
  }
  return std::max(count, 1U);
}

Result<XdpProgram, std::string> put_program(const XdpOptions& options, unsigned index) {
  const unsigned room = std::max(queues_of(options.interface), options.queue + 1);
  XdpProgramError why;
  for (const bool native : {true, false}) {
    if (native && !options.native) continue;
    auto program = attach_xdp_program(index, room, native);
    if (program) return std::move(*program);
    why = program.error();
    // Only a driver that cannot do it, or not with this MTU, is a reason to ask the kernel itself.
    if (why.error != EOPNOTSUPP && why.error != EINVAL) break;
  }
  return fail(with_way_out(cannot(why.step, options, why.error), options, why.error));
}

}  // namespace

Result<std::unique_ptr<Xdp>, std::string> open_xdp(const XdpOptions& options) {
  const unsigned index = if_nametoindex(options.interface.c_str());
  if (index == 0) {
    return fail("there is no interface " + options.interface + " here; see: ip link");
  }
  Capabilities can;
  can.mtu = interface_mtu(options.interface);
  can.mac = interface_mac(options.interface);
  if (can.mtu > kGreatestMtu) {
    return fail(options.interface + " has an MTU of " + std::to_string(can.mtu) +
                "; AF_XDP carries at most " + std::to_string(kGreatestMtu) +
                ": sudo ip link set dev " + options.interface + " mtu 1500");
  }
  const std::uint32_t needed = can.mtu + kLinkHeader + kRoomInFront;
  auto rings = XdpRings::create(needed <= 2048 ? 2048 : 4096);
  if (!rings) {
    const int error = errno;
    return fail(with_way_out(cannot(rings.error(), options, error), options, error));
  }
  auto program = put_program(options, index);
  if (!program) return fail(program.error());
  const auto bound = bind_queue(*rings, index, options, options.zero_copy && program->native);
  int error = bound ? 0 : bound.error();
  if (error == 0 && !give_queue_to(*program, options.queue, rings->socket.get())) error = errno;
  if (error != 0) {
    const std::string text = cannot("use a queue of", options, error);
    return fail(with_way_out(text, options, error));
  }
  return std::make_unique<XdpSocket>(options, std::move(*rings), std::move(*program), can, *bound);
}

}  // namespace tidewire::device
