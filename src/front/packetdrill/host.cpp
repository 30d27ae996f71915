#include "front/packetdrill/host.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "device/wrap/materialise.hpp"
#include "wire/pretty.hpp"

namespace tidewire::packetdrill {
namespace {

// Far from 0, so that scripts can look back.
constexpr Instant start = Instant::from_nanos(1'000'000'000'000'000);
constexpr std::size_t memory_cap = std::size_t{1} << 30;
constexpr RandomSeed seed{0x7469'6465'7769'7265, 0x7061'636b'6574'6472};

StackConfig config_of(const TcpConfig& tcp) {
  StackConfig config;
  config.tcp = tcp;
  return config;
}

const TcpConfig& first_config(SysctlFile& file) {
  (void)file.refresh();
  return file.config();
}

}  // namespace

Host::Host(const Flags& flags)
    : flags_(flags),
      sysctls_(flags.sysctl_file),
      statistics_(flags.counters_file),
      owner_(std::this_thread::get_id()),
      now_(start),
      memory_(memory_cap),
      stack_(config_of(first_config(sysctls_)), memory_, seed, start) {
  const auto interface = stack_.add_interface(
      {.name = "tun0", .medium = Medium::ip, .mac = {}, .mtu = flags_.mtu}, now_);
  if (!interface) return;
  interface_ = *interface;
  apply_sysctls();
  (void)stack_.add_address(interface_, {flags_.local, flags_.prefix_len}, now_);
  const IpAddress any = flags_.local.is_v4() ? IpAddress::v4(0) : IpAddress::v6({});
  (void)stack_.add_route(
      {.destination = {any, 0}, .gateway = flags_.gateway, .interface = interface_});
}

void Host::refresh() {
  if (sysctls_.refresh()) apply_sysctls();
}

void Host::apply_sysctls() {
  if (std::exchange(flushes_, sysctls_.flushes()) != sysctls_.flushes()) stack_.forget_fast_open();
  stack_.set_tcp_config(sysctls_.config());
  if (std::exchange(link_full_, sysctls_.link_full()) && !link_full_) {
    stack_.on_writable(interface_, now_);
  }
  if (!sysctls_.fast_open_keys().empty()) {
    (void)stack_.set_fast_open_keys(sysctls_.fast_open_keys());
  }
}

PushResult Host::push(const TxFrame& frame) noexcept {
  if (link_full_) return PushResult::full;
  for (std::uint32_t i = 0; i < device::wire_packets(frame); ++i) {
    Sent sent{std::vector<std::byte>(device::wire_packet_size(frame, i)), now_};
    if (device::materialise(frame, i, sent.bytes) == 0) continue;
    trace(">", sent.bytes);
    sent_.push_back(std::move(sent));
  }
  return PushResult::taken;
}

void Host::trace(const char* direction, Bytes packet) const {
  if (!flags_.trace) return;
  const std::int64_t micros = (now_ - start).count_micros();
  std::fprintf(stderr, "%lld.%06lld %s %s\n", static_cast<long long>(micros / 1'000'000),
               static_cast<long long>(micros % 1'000'000), direction,
               wire::pretty(Medium::ip, packet).c_str());
}

void Host::settle() {
  release_waiter();
  while (stack_.poll_transmit(*this, now_) == Transmit::budget_spent) {
  }
  while (stack_.poll_event()) {
  }
  if (observer_) observer_();
  statistics_.refresh(stack_.counters());
  release_waiter();
}

// --- time ---

void Host::release_waiter() {
  if (waiter_ == nullptr || waiter_->released) return;
  if (!(*waiter_->condition)() && waiter_->deadline > now_) return;
  waiter_->released = true;
  released_thread_ = waiter_->thread;
  stamp_owed_ = true;
  changed_.notify_all();
}

void Host::await_stamp(Lock& lock) {
  if (!on_owner()) return;
  changed_.wait(lock, [this] { return !stamp_owed_; });
}

Instant Host::next_deadline() {
  const Instant timers = stack_.next_deadline();
  const bool waits = waiter_ != nullptr && !waiter_->released;
  return waits ? earlier(timers, waiter_->deadline) : timers;
}

void Host::step_to(Instant at) {
  now_ = later(now_, at);
  stack_.on_timeout(now_);
  settle();
}

void Host::run_until(Lock& lock, Instant target) {
  await_stamp(lock);
  for (Instant at = next_deadline(); at <= target; at = next_deadline()) {
    step_to(at);
    await_stamp(lock);
  }
  now_ = later(now_, target);
}

std::int64_t Host::read_clock(Lock& lock) {
  if (on_owner()) {
    run_until(lock, now_ + Duration::micros(1));
  } else if (stamp_owed_) {
    stamp_owed_ = false;
    changed_.notify_all();
  } else {
    run_until(lock, now_ + Duration::micros(1));
  }
  return now_.nanos() / 1'000;
}

void Host::sleep(Lock& lock, Duration span) {
  if (on_owner()) await_rest(lock);
  run_until(lock, now_ + span);
}

void Host::await_rest(Lock& lock) {
  await_stamp(lock);
  const pid_t thread = std::exchange(released_thread_, 0);
  if (thread == 0) return;
  lock.unlock();
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/stat";
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < limit) {
    std::ifstream file(path);
    std::string word;
    for (int i = 0; i < 3; ++i) file >> word;  // number, name, state
    if (word != "R") break;
    std::this_thread::yield();
  }
  lock.lock();
}

bool Host::wait_here(Lock& lock, const Condition& condition, Instant deadline) {
  while (!condition()) {
    await_stamp(lock);
    const Instant at = next_deadline();
    if (deadline <= at) {
      if (deadline.is_never()) return false;
      run_until(lock, deadline);
      return condition();
    }
    step_to(at);
  }
  return true;
}

bool Host::wait(Lock& lock, const Condition& condition, Instant deadline) {
  if (condition()) return true;
  if (deadline <= now_) return false;
  if (on_owner()) return wait_here(lock, condition, deadline);
  Waiter waiter{&condition, deadline, static_cast<pid_t>(::syscall(SYS_gettid))};
  waiter_ = &waiter;
  stamp_owed_ = false;
  changed_.notify_all();
  changed_.wait(lock, [&] { return waiter.released; });
  waiter_ = nullptr;
  return condition();
}

// --- wire ---

void Host::arrive(Bytes packet) {
  trace("<", packet);
  RxFrame frame;
  frame.head = packet;
  frame.ingress = now_;
  stack_.on_frames(interface_, {&frame, 1}, now_);
}

std::optional<Host::Sent> Host::next_sent(Lock& lock) {
  const bool there = wait_here(lock, [this] { return !sent_.empty(); }, Instant::never());
  if (!there) return std::nullopt;
  Sent sent = std::move(sent_.front());
  sent_.pop_front();
  return sent;
}

}  // namespace tidewire::packetdrill
