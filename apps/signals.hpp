// Signals as events of the loop.
#pragma once

#include <functional>
#include <initializer_list>
#include <vector>

#include "runtime/driver.hpp"
#include "runtime/wakeup.hpp"

namespace tidewire::apps {

/// Catches signals while it lives and calls `action` for each in the driver's thread. Handlers, not
/// a blocked mask: programs that are started inherit neither. One at a time in a process.
class Signals final : public runtime::IoHandler {
 public:
  Signals(runtime::Driver& driver, std::initializer_list<int> numbers,
          std::function<void(int)> action);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void on_io(int fd, std::uint32_t ready, Instant now) override;

 private:
  runtime::Driver& driver_;
  std::vector<int> numbers_;
  std::function<void(int)> action_;
  runtime::Wakeup wakeup_;
  runtime::WatchId watch_;
};

}  // namespace tidewire::apps
