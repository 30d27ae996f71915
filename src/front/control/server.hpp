// Answers requests at the control socket of a running host.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/time.hpp"
#include "front/control/record.hpp"
#include "runtime/driver.hpp"
#include "runtime/fd.hpp"
#include "runtime/poller.hpp"

namespace tidewire::control {

/// Names a connection; never used again.
using ConnectionId = std::uint64_t;

/// What one of this user's processes asks for.
struct Request {
  Record record;
  ConnectionId connection = 0;
  pid_t pid = 0;       ///< of the process that connected
  runtime::Fd passed;  ///< a descriptor that came along
};

/// Lines, then "ok" or an error.
struct Reply {
  std::string lines;
  /// Appends further lines, as many as are quickly made; false: these were the last. Called again
  /// when the peer has taken what there was, so that a slow reader holds no memory.
  std::function<bool(std::string&)> more;
  std::string error;  ///< not empty: one line that says why not
  bool keep = false;  ///< the connection stays for further requests, until its peer closes it
};

class Handler {
 public:
  virtual Reply answer(Request& request, Instant now) = 0;
  /// A kept connection ended.
  virtual void gone(ConnectionId connection) = 0;

 protected:
  ~Handler() = default;
};

struct ServerLimits {
  std::size_t connections = 32;  ///< at once, apart from those that are kept
  std::size_t kept = 1024;
  std::size_t request_bytes = 4096;              ///< of one line
  Duration request_time = Duration::seconds(2);  ///< for a whole line to come
  Duration reply_time = Duration::seconds(5);    ///< without the peer taking a byte
};

/// One request a connection: a line in, lines out, end. Only processes of this user, or root, are
/// answered. Whatever comes costs a bounded amount of memory and of time a turn. Runs in the
/// driver's thread.
class Server final : public runtime::IoHandler, public runtime::Task {
 public:
  /// `listener` stays the caller's; `handler` outlives this.
  Server(runtime::Driver& driver, int listener, Handler& handler, const ServerLimits& limits = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Says a line to a kept connection; false: it is gone, or does not take it.
  bool say(ConnectionId connection, const Record& record);
  /// Says a line to a kept connection and ends it; its handler is not told.
  void end(ConnectionId connection, const Record& record);
  std::size_t connections() const noexcept { return connections_.size(); }

  void on_io(int fd, std::uint32_t ready, Instant now) override;
  Instant next_deadline() override;
  void run(Instant now) override;

 private:
  struct Connection {
    ConnectionId id = 0;
    runtime::Fd fd;
    runtime::WatchId watch;
    pid_t pid = 0;
    std::string in;
    std::string out;  ///< not yet taken by the peer
    std::function<bool(std::string&)> more;
    runtime::Fd passed;
    Instant deadline;
    bool kept = false;
    bool answering = false;  ///< a request was read, its reply is not out yet
  };

  void accept_some(Instant now);
  void welcome(runtime::Fd fd, Instant now);
  void refuse(const runtime::Fd& fd, std::string_view why);
  void read_from(Connection& c, Instant now);
  bool take_line(Connection& c, Instant now);
  void answer(Connection& c, std::string_view line, Instant now);
  void fail_request(Connection& c, std::string_view why, Instant now);
  void write_to(Connection& c, Instant now);
  void close(Connection& c);

  runtime::Driver& driver_;
  int listener_;
  Handler& handler_;
  ServerLimits limits_;
  runtime::WatchId watch_;
  std::map<ConnectionId, std::unique_ptr<Connection>> connections_;
  std::size_t kept_ = 0;
  ConnectionId last_ = 0;
  Instant resume_ = Instant::never();  ///< descriptors had run out: accept again then
};

}  // namespace tidewire::control
