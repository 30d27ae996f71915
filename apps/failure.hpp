// How a subcommand gives up.
#pragma once

#include <stdexcept>
#include <string>

namespace tidewire::apps {

/// Exit status of our own failures under `run`, as in env(1) and timeout(1).
inline constexpr int kOwnFailure = 125;

/// One line for the user and the exit status. main() prints it.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& line, int status = 1)
      : std::runtime_error(line), status_(status) {}
  int status() const noexcept { return status_; }

 private:
  int status_;
};

}  // namespace tidewire::apps
