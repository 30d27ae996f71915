#include "device/backends/af_xdp_rings.hpp"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <utility>

namespace tidewire::device {
namespace {

constexpr int kSendBuffer = 64 << 20;

bool set(const OwnedFd& fd, int option, const void* value, std::size_t size) noexcept {
  return setsockopt(fd.get(), SOL_XDP, option, value, static_cast<socklen_t>(size)) == 0;
}

/// Kernels before 5.11 count the memory against a limit that root may raise.
void raise_limit() noexcept {
  const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
  (void)setrlimit(RLIMIT_MEMLOCK, &none);
}

}  // namespace

Result<XdpRings, const char*> XdpRings::create(std::uint32_t frame_size) {
  XdpRings rings;
  rings.frame_size = frame_size;
  rings.socket = OwnedFd{::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)};
  if (!rings.socket) return fail("open an AF_XDP socket for");
  const std::size_t size = std::size_t{2} * kFrames * frame_size;
  void* frames = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (frames == MAP_FAILED) return fail("get memory for");
  rings.memory = Mapping(frames, size);
  raise_limit();
  (void)setsockopt(rings.socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer,
                   sizeof kSendBuffer);
  xdp_umem_reg area{};
  area.addr = reinterpret_cast<std::uintptr_t>(frames);
  area.len = size;
  area.chunk_size = frame_size;
  if (!set(rings.socket, XDP_UMEM_REG, &area, sizeof area)) return fail("register memory for");
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING}) {
    const std::uint32_t entries = kFrames;
    if (!set(rings.socket, ring, &entries, sizeof entries)) return fail("make rings for");
  }
  xdp_mmap_offsets at{};
  socklen_t length = sizeof at;
  if (getsockopt(rings.socket.get(), SOL_XDP, XDP_MMAP_OFFSETS, &at, &length) != 0) {
    return fail("make rings for");
  }
  const auto map = [&](const xdp_ring_offset& ring, std::size_t entry, std::uint64_t page) {
    const std::size_t bytes = ring.desc + kFrames * entry;
    void* there = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                       rings.socket.get(), static_cast<off_t>(page));
    if (there == MAP_FAILED) return static_cast<std::byte*>(nullptr);
    rings.mappings.emplace_back(there, bytes);
    return static_cast<std::byte*>(there);
  };
  std::byte* fill = map(at.fr, sizeof(std::uint64_t), XDP_UMEM_PGOFF_FILL_RING);
  std::byte* done = map(at.cr, sizeof(std::uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING);
  std::byte* in = map(at.rx, sizeof(xdp_desc), XDP_PGOFF_RX_RING);
  std::byte* out = map(at.tx, sizeof(xdp_desc), XDP_PGOFF_TX_RING);
  if (rings.mappings.size() != 4) return fail("map rings of");
  rings.fill = {fill, at.fr, kFrames};
  rings.completion = {done, at.cr, kFrames};
  rings.receive = {in, at.rx, kFrames};
  rings.transmit = {out, at.tx, kFrames};
  return rings;
}

int XdpRings::bind(unsigned interface, unsigned queue, bool zero_copy) noexcept {
  sockaddr_xdp where{};
  where.sxdp_family = AF_XDP;
  where.sxdp_flags =
      static_cast<__u16>(XDP_USE_NEED_WAKEUP | (zero_copy ? XDP_ZEROCOPY : XDP_COPY));
  where.sxdp_ifindex = interface;
  where.sxdp_queue_id = queue;
  const auto* address = reinterpret_cast<const sockaddr*>(&where);
  return ::bind(socket.get(), address, sizeof where) == 0 ? 0 : errno;
}

void XdpRings::wake_receiver() noexcept {
  (void)!recvfrom(socket.get(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

bool XdpRings::kick() noexcept {
  std::uint32_t left = transmit.outstanding();
  while (left != 0 && transmit.needs_wakeup()) {
    const bool sent = sendto(socket.get(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) >= 0;
    if (!sent && errno != EAGAIN) return false;
    // One call in copy mode sends 32 frames, or none while too many are under way.
    const std::uint32_t now = transmit.outstanding();
    if (now == left) return false;
    left = now;
  }
  return left == 0;
}

}  // namespace tidewire::device
