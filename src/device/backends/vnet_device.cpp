#include "device/backends/vnet_device.hpp"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "device/backends/write_batch.hpp"
#include "device/wrap/materialise.hpp"
#include "device/wrap/rx_split.hpp"
#include "wire/load.hpp"

namespace tidewire::device {
namespace {

constexpr std::size_t kGreatest = 65536 + 256;  // frame and header
// So little that frames of this size are still in the core's cache when they are copied out of it,
// with room for 64 packets of 1500 bytes.
constexpr std::size_t kArena = 4 * kGreatest;
constexpr std::size_t kPieces = 64;
// Of a frame that is joined to one piece: copying it costs less than what the kernel does for more.
constexpr std::size_t kJoined = 2048;
constexpr Duration kLookEvery = Duration::millis(250);
constexpr Duration kRetry = Duration::millis(1);  // of frames that found no room after their push
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kTcpCwr = 0x80;

ifreq request_for(const std::string& name) noexcept {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1));
  return request;
}

bool ask(const std::string& name, unsigned long what, ifreq& answer) noexcept {
  const OwnedFd fd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  answer = request_for(name);
  return fd && ioctl(fd.get(), what, &answer) == 0;
}

}  // namespace

VnetHeader vnet_header(const TxFrame& frame) noexcept {
  VnetHeader header;
  if (!frame.checksum_pending) return header;
  header.flags = VnetHeader::kNeedsChecksum;
  header.header_length = static_cast<std::uint16_t>(frame.headers.size());
  header.checksum_start = frame.transport_offset;
  header.checksum_offset = frame.checksum_offset;
  if (frame.seg_size == 0 || frame.payload_size() <= frame.seg_size) return header;
  header.gso_size = static_cast<std::uint16_t>(frame.seg_size);
  if (frame.checksum_offset != 16) {
    header.gso_type = VnetHeader::kGsoUdp;
    return header;
  }
  const bool v6 = wire::load_u8(frame.headers.data() + frame.network_offset) >> 4 == 6;
  header.gso_type = v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4;
  const std::uint8_t flags = wire::load_u8(frame.headers.data() + frame.transport_offset + 13);
  if ((flags & kTcpCwr) != 0) header.gso_type |= VnetHeader::kGsoEcn;
  return header;
}

bool apply_vnet_header(const VnetHeader& header, Medium medium, RxFrame& frame) noexcept {
  const bool gso = header.gso_type != VnetHeader::kGsoNone;
  const bool partial = (header.flags & VnetHeader::kNeedsChecksum) != 0;
  if ((header.flags & VnetHeader::kDataValid) != 0) frame.checksum = ChecksumState::verified;
  if (!gso && !partial) return true;
  const std::optional<PacketLayers> at = find_layers(frame.head, medium);
  if (!at) return !gso && !partial;
  bool consistent = true;
  if (partial) {
    const std::uint16_t field = at->protocol == kTcp ? 16 : 6;
    consistent = header.checksum_start == at->transport && header.checksum_offset == field;
    frame.checksum = consistent ? ChecksumState::partial : ChecksumState::unknown;
  }
  if (!gso) return consistent;
  const std::uint8_t type = header.gso_type & static_cast<std::uint8_t>(~VnetHeader::kGsoEcn);
  const bool tcp = type == VnetHeader::kGsoTcp4 || type == VnetHeader::kGsoTcp6;
  const std::size_t payload = frame.size() - at->payload;
  if (tcp != (at->protocol == kTcp) || header.gso_size == 0 || payload == 0) return false;
  if (header.gso_size >= payload) return consistent;  // one packet after all
  frame.seg_size = header.gso_size;
  frame.segs = static_cast<std::uint16_t>((payload + header.gso_size - 1) / header.gso_size);
  return consistent;
}

VnetDevice::VnetDevice(OwnedFd fd, std::string name, const Capabilities& capabilities)
    : VnetDevice(std::move(fd), OwnedFd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)},
                 std::move(name), capabilities) {}

VnetDevice::VnetDevice(OwnedFd fd, OwnedFd control, std::string name,
                       const Capabilities& capabilities)
    : fd_(std::move(fd)),
      control_(std::move(control)),
      name_(std::move(name)),
      capabilities_(capabilities),
      arena_(kArena),
      scratch_(kGreatest) {
  look_at_link();
}

VnetDevice::~VnetDevice() = default;

Result<void, std::string> VnetDevice::write_in_batches() {
  auto batch = WriteBatch::open(fd_.get(), counters_);
  if (!batch) return fail(batch.error());
  batch_ = std::move(*batch);
  return {};
}

void VnetDevice::look_at_link() noexcept {
  if (!control_) return;
  ifreq answer = request_for(name_);
  if (ioctl(control_.get(), SIOCGIFFLAGS, &answer) != 0) {
    up_ = errno != ENODEV && errno != ENXIO;
    return;
  }
  up_ = (answer.ifr_flags & IFF_UP) != 0;
}

void VnetDevice::advance(Instant now) noexcept {
  now_ = later(now_, now);
  if (now < next_look_) return;
  next_look_ = now + kLookEvery;
  look_at_link();
}

PushResult VnetDevice::push(const TxFrame& frame) noexcept {
  ++sent_;
  if (batch_ == nullptr) return write_now(frame);
  if (batch_->takes(frame)) return batch_->add(frame);
  return batch_->write() ? write_now(frame) : PushResult::full;
}

void VnetDevice::flush() noexcept {
  if (batch_ != nullptr) (void)batch_->write();
}

Instant VnetDevice::next_deadline() noexcept {
  return batch_ != nullptr && batch_->holds() ? now_ + kRetry : Instant::never();
}

PushResult VnetDevice::write_now(const TxFrame& frame) noexcept {
  VnetHeader header = vnet_header(frame);
  iovec pieces[kPieces];
  pieces[0] = {&header, sizeof header};
  const auto piece = [](Bytes bytes) {
    return iovec{const_cast<std::byte*>(bytes.data()), bytes.size()};
  };
  std::size_t count = 1;
  if (frame.size() <= kJoined) {
    std::memcpy(scratch_.data(), &header, sizeof header);
    const std::size_t size = gather(frame, MutBytes{scratch_}.subspan(sizeof header));
    pieces[0] = {scratch_.data(), sizeof header + size};
  } else if (frame.payload.size() + 2 <= kPieces) {
    pieces[count++] = piece(frame.headers);
    for (const Bytes region : frame.payload) pieces[count++] = piece(region);
  } else {
    pieces[count++] = piece(Bytes{scratch_}.first(gather(frame, scratch_)));
  }
  const int error = write_frame(fd_.get(), std::span{pieces}.first(count));
  if (is_room_error(error)) {
    ++counters_.full;
    return PushResult::full;
  }
  // Else the interface is down or the frame is not to its liking: as lost on a wire.
  ++(error == 0 ? counters_.frames_out : counters_.errors_out);
  return PushResult::taken;
}

std::span<const RxFrame> VnetDevice::receive(Instant now, std::size_t limit) noexcept {
  advance(now);
  frames_.clear();
  std::size_t at = 0;
  std::size_t reads = 0;
  // The descriptor is level triggered and tells of what is left.
  limit = guess_.begin(std::exchange(sent_, 0), limit);
  while (frames_.size() < limit && at + kGreatest <= arena_.size() && reads++ < limit) {
    const std::ptrdiff_t size = read_frame(MutBytes{arena_}.subspan(at, kGreatest));
    if (size == 0) break;
    if (size <= static_cast<std::ptrdiff_t>(sizeof(VnetHeader))) continue;
    VnetHeader header;
    std::memcpy(&header, arena_.data() + at, sizeof header);
    RxFrame frame;
    frame.head =
        Bytes{arena_}.subspan(at + sizeof header, static_cast<std::size_t>(size) - sizeof header);
    frame.ingress = now;
    if (!apply_vnet_header(header, capabilities_.medium, frame)) ++counters_.bad_metadata;
    ++counters_.frames_in;
    frames_.push_back(frame);
    at += (static_cast<std::size_t>(size) + 63) / 64 * 64;
  }
  again_ = frames_.size() < limit && at + kGreatest > arena_.size();
  guess_.end(again_ ? limit : frames_.size());
  return frames_;
}

bool VnetDevice::writable() noexcept {
  if (batch_ != nullptr && !batch_->write()) return false;
  pollfd poll_for{fd_.get(), POLLOUT, 0};
  return poll(&poll_for, 1, 0) > 0 && (poll_for.revents & POLLOUT) != 0;
}

int write_frame(int fd, std::span<const iovec> pieces) noexcept {
  const auto once = [&] {
    // The plain call costs the kernel less than a vector of one.
    if (pieces.size() == 1) return write(fd, pieces[0].iov_base, pieces[0].iov_len);
    return writev(fd, pieces.data(), static_cast<int>(pieces.size()));
  };
  while (once() < 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

std::uint32_t interface_mtu(const std::string& name) noexcept {
  ifreq answer;
  return ask(name, SIOCGIFMTU, answer) ? static_cast<std::uint32_t>(answer.ifr_mtu) : 0;
}

MacAddress interface_mac(const std::string& name) noexcept {
  ifreq answer;
  MacAddress mac;
  if (ask(name, SIOCGIFHWADDR, answer)) {
    std::memcpy(mac.octets.data(), answer.ifr_hwaddr.sa_data, mac.octets.size());
  }
  return mac;
}

bool interface_is_up(const std::string& name) noexcept {
  ifreq answer;
  return ask(name, SIOCGIFFLAGS, answer) && (answer.ifr_flags & IFF_UP) != 0;
}

bool is_room_error(int error) noexcept {
  return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS;
}

std::string error_text(int error) {
  const char* name = strerrorname_np(error);
  return std::string(strerror(error)) + (name != nullptr ? " (" + std::string(name) + ")" : "");
}

}  // namespace tidewire::device
