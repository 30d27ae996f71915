// Asks a running host.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "front/control/place.hpp"
#include "front/control/record.hpp"
#include "runtime/fd.hpp"

namespace tidewire::control {

/// A connection to a host's control socket.
class Client {
 public:
  /// None: no host of that name runs (a socket that a killed one left is no host). The error is
  /// one line.
  static Result<std::optional<Client>, std::string> connect(const Place& place,
                                                            std::string_view name);

  /// Sends a request, with a descriptor perhaps, and waits for its reply. The error is one line:
  /// the host's own, or that it does not answer.
  Result<std::vector<Record>, std::string> ask(const Record& request, int passed = -1,
                                               Duration patience = Duration::seconds(10));
  /// The next line that came unasked, without waiting; none if there is none.
  std::optional<Record> poll();
  /// True once the host has closed the connection.
  bool ended() const noexcept { return ended_; }
  /// Readable when poll() has something, or the host is gone.
  int descriptor() const noexcept { return fd_.get(); }
  const std::string& name() const noexcept { return name_; }

 private:
  Client(runtime::Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  bool send_line(const std::string& line, int passed);
  bool fill(int timeout_ms);
  std::optional<std::string> take_line();

  runtime::Fd fd_;
  std::string name_;
  std::string in_;
  bool ended_ = false;
};

}  // namespace tidewire::control
