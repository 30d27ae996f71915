#include "apps/signals.hpp"

#include <atomic>
#include <csignal>
#include <cstdint>

namespace tidewire::apps {

namespace {

std::atomic<std::uint64_t> caught = 0;
std::atomic<runtime::Wakeup*> wake = nullptr;

extern "C" void on_signal(int number) {
  caught.fetch_or(std::uint64_t{1} << number, std::memory_order_relaxed);
  if (runtime::Wakeup* w = wake.load(std::memory_order_acquire)) w->request();
}

}  // namespace

Signals::Signals(runtime::Driver& driver, std::initializer_list<int> numbers,
                 std::function<void(int)> action)
    : driver_(driver), numbers_(numbers), action_(std::move(action)) {
  wake.store(&wakeup_, std::memory_order_release);
  if (auto watch = driver.poller().add(wakeup_.descriptor(), runtime::kIoRead, *this)) {
    watch_ = *watch;
  }
  struct sigaction handler{};
  handler.sa_handler = on_signal;
  handler.sa_flags = SA_RESTART;
  for (const int number : numbers_) sigaction(number, &handler, nullptr);
}

Signals::~Signals() {
  struct sigaction original{};
  original.sa_handler = SIG_DFL;
  for (const int number : numbers_) sigaction(number, &original, nullptr);
  wake.store(nullptr, std::memory_order_release);
  driver_.poller().remove(watch_);
}

void Signals::on_io(int, std::uint32_t, Instant) {
  wakeup_.clear();
  std::uint64_t numbers = caught.exchange(0, std::memory_order_relaxed);
  for (const int number : numbers_) {
    if ((numbers >> number & 1) != 0) action_(number);
  }
}

}  // namespace tidewire::apps
