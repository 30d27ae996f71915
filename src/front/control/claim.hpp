// The name of a running host.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "front/control/place.hpp"
#include "runtime/fd.hpp"

namespace tidewire::control {

/// Holds a name and listens at its socket (NAME.sock, mode 0600), and takes both away when it goes.
/// The kernel lets go of the name (a lock on NAME.lock) even if the process is killed; whoever
/// wants the name then clears away what was left.
class Claim {
 public:
  /// Nothing: a running process has the name. The error is one line.
  static Result<std::optional<Claim>, std::string> take(const Place& place, std::string_view name);

  Claim(Claim&&) noexcept = default;
  Claim& operator=(Claim&&) = delete;
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim();

  const std::string& name() const noexcept { return name_; }
  int listener() const noexcept { return listener_.get(); }

 private:
  Claim(runtime::Fd directory, std::string name, runtime::Fd lock)
      : directory_(std::move(directory)), name_(std::move(name)), lock_(std::move(lock)) {}
  Result<void, std::string> listen();

  runtime::Fd directory_;
  std::string name_;
  runtime::Fd lock_;
  runtime::Fd listener_;
};

}  // namespace tidewire::control
