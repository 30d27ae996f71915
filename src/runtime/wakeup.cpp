#include "runtime/wakeup.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace tidewire::runtime {

Wakeup::Wakeup() : event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!event_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Wakeup::request() noexcept {
  const int saved = errno;
  requested_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  (void)!::write(event_.get(), &one, sizeof one);
  errno = saved;
}

void Wakeup::clear() noexcept {
  std::uint64_t count = 0;
  (void)!::read(event_.get(), &count, sizeof count);
  requested_.store(false, std::memory_order_release);
}

}  // namespace tidewire::runtime
