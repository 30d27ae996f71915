// Frames of 1500 bytes a second through AF_XDP on a veth pair: tidewire's device, and a bare loop
// over the same rings. Out: to a kernel that drops them. In: from a bare sender on another core.
// Usage: xdp_bench [--list | CASE [SECONDS]]; without arguments every case once.
// Prints `CASE VALUE packets/s`. Needs root: each run makes its own network namespace.
#include <net/if.h>

#include <array>
#include <memory>
#include <string_view>

#include "arguments.hpp"
#include "cases.hpp"
#include "device/backends/af_xdp.hpp"
#include "device/backends/af_xdp_program.hpp"
#include "device/backends/af_xdp_rings.hpp"
#include "kernel_side.hpp"
#include "runtime/clock.hpp"

namespace tidewire::bench {
namespace {

using device::XdpRings;

constexpr std::size_t kFrame = 1514;
constexpr std::size_t kHeaders = 42;
constexpr std::uint32_t kBatch = 64;

/// Ethernet of a type that nobody here knows.
std::array<std::byte, kFrame> frame_bytes() {
  std::array<std::byte, kFrame> bytes{};
  bytes.fill(std::byte{0x55});
  for (std::size_t i = 0; i < 12; ++i) bytes[i] = std::byte{2};
  bytes[12] = std::byte{0x88};
  bytes[13] = std::byte{0xb5};  // for experiments (IEEE 802)
  return bytes;
}

void make_pair() {
  enter_namespace();
  shell(
      "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 &&"
      " ip link add xv0 type veth peer name xv1 && ip link set xv0 up && ip link set xv1 up");
}

// --- bare ---

struct Bare {
  explicit Bare(const char* interface) {
    const unsigned index = if_nametoindex(interface);
    auto made = XdpRings::create(2048);
    auto put = device::attach_xdp_program(index, 1, true);
    if (!made || !put) give_up("AF_XDP");
    rings = std::move(*made);
    program = std::move(*put);
    if (rings.bind(index, 0, false) != 0 ||
        !device::give_queue_to(program, 0, rings.socket.get())) {
      give_up("AF_XDP's bind");
    }
    for (std::uint64_t i = 0; i < XdpRings::kFrames; ++i) rings.fill.put(i * 2048);
    rings.fill.publish();
  }
  XdpRings rings;
  device::XdpProgram program;
};

/// Calls `sent` with the size of each batch until it answers false.
template <typename Sent>
void send_bare(Bare& bare, Sent sent) {
  const auto bytes = frame_bytes();
  XdpRings& r = bare.rings;
  std::uint64_t next = 0;
  std::uint32_t free = XdpRings::kFrames;
  do {
    const std::uint32_t done = r.completion.available();
    for (std::uint32_t i = 0; i < done; ++i) (void)r.completion.take();
    if (done != 0) r.completion.release();
    free += done;
    const std::uint32_t count = std::min(free, kBatch);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t address = (XdpRings::kFrames + next++ % XdpRings::kFrames) * 2048;
      std::memcpy(r.frame(address).data(), bytes.data(), kFrame);
      r.transmit.put({address, kFrame, 0});
    }
    free -= count;
    r.transmit.publish();
    (void)r.kick();
    if (!sent(count)) return;
  } while (true);
}

double out_bare(double seconds) {
  Bare bare("xv0");
  Meter meter(seconds);
  send_bare(bare, [&](std::uint32_t count) {
    meter.add(count);
    return meter.running();
  });
  return meter.rate(kEcho);
}

double in_bare(double seconds) {
  Bare bare("xv1");
  Meter meter(seconds);
  XdpRings& r = bare.rings;
  unsigned touched = 0;
  while (meter.running()) {
    const std::uint32_t count = std::min(r.receive.available(), kBatch);
    for (std::uint32_t i = 0; i < count; ++i) {
      const xdp_desc frame = r.receive.take();
      touched += std::to_integer<unsigned>(r.memory.data()[frame.addr + 12]);
      r.fill.put(frame.addr & ~std::uint64_t{2047});
    }
    if (count == 0) continue;
    r.receive.release();
    r.fill.publish();
    meter.add(count);
  }
  if (touched == 1) std::exit(1);  // used
  return meter.rate(kEcho);
}

// --- tidewire's device ---

std::unique_ptr<device::Xdp> open(const char* interface) {
  auto opened = device::open_xdp({.interface = interface});
  if (opened) return std::move(*opened);
  std::fprintf(stderr, "bench: %s\n", opened.error().c_str());
  std::exit(1);
}

double out(double seconds) {
  const auto link = open("xv0");
  const auto bytes = frame_bytes();
  const Bytes all(bytes);
  const Bytes payload[] = {all.subspan(kHeaders)};
  TxFrame frame;
  frame.headers = all.first(kHeaders);
  frame.payload = payload;
  Meter meter(seconds);
  while (meter.running()) {
    link->advance(runtime::Clock::now());
    std::uint32_t taken = 0;
    while (taken < kBatch && link->push(frame) == PushResult::taken) ++taken;
    link->flush();
    if (taken == 0) (void)link->writable();
    meter.add(taken);
  }
  return meter.rate(kEcho);
}

double in(double seconds) {
  const auto link = open("xv1");
  Meter meter(seconds);
  unsigned touched = 0;
  while (meter.running()) {
    const auto frames = link->receive(runtime::Clock::now(), kBatch);
    for (const RxFrame& frame : frames) touched += std::to_integer<unsigned>(frame.head[12]);
    meter.add(frames.size());
  }
  if (touched == 1) std::exit(1);  // used
  return meter.rate(kEcho);
}

struct Case {
  const char* name;
  double (*run)(double seconds);
  bool incoming;
};

constexpr Case kCases[] = {
    {"xdp_out", out, false},
    {"xdp_out_bare", out_bare, false},
    {"xdp_in", in, true},
    {"xdp_in_bare", in_bare, true},
};

int run(const Case& what, double seconds) {
  make_pair();
  pin(0);
  double value = 0;
  if (what.incoming) {
    const Child sender([] {
      pin(1);
      Bare bare("xv0");
      send_bare(bare, [](std::uint32_t) { return true; });
    });
    value = what.run(seconds);
  } else {
    value = what.run(seconds);
  }
  std::printf("%s %.0f packets/s\n", what.name, value);
  return 0;
}

}  // namespace
}  // namespace tidewire::bench

int main(int argc, char** argv) {
  using namespace tidewire::bench;
  const double seconds = seconds_argument(argc, argv);
  return run_cases(argc, argv, names_of(kCases), "xdp_bench [--list | CASE [SECONDS]]",
                   [&](std::size_t i) { return run(kCases[i], seconds); });
}
