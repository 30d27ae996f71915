#include "front/control/claim.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "front/control/address.hpp"

namespace tidewire::control {

namespace {

constexpr int kBacklog = 64;
constexpr int kRounds = 100;

/// True if the locked file is still the one of that name: its last holder may have removed it
/// between our open and our lock.
bool is_current(int directory, const std::string& file, int lock) {
  struct stat locked{};
  struct stat named{};
  return fstat(lock, &locked) == 0 &&
         fstatat(directory, file.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
}

}  // namespace

Result<std::optional<Claim>, std::string> Claim::take(const Place& place, std::string_view name) {
  const std::string file = std::string(name) + ".lock";
  runtime::Fd directory(fcntl(place.directory.get(), F_DUPFD_CLOEXEC, 3));
  for (int round = 0; round < kRounds; ++round) {
    runtime::Fd lock(openat(directory.get(), file.c_str(),
                            O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
    if (!lock) return fail(place.path + "/" + file + ": " + std::strerror(errno));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return std::optional<Claim>{};
    if (!is_current(directory.get(), file, lock.get())) continue;
    Claim claim(std::move(directory), std::string(name), std::move(lock));
    if (auto done = claim.listen(); !done) return fail(std::move(done.error()));
    return std::optional<Claim>(std::move(claim));
  }
  return std::optional<Claim>{};
}

Result<void, std::string> Claim::listen() {
  const std::string file = name_ + ".sock";
  unlinkat(directory_.get(), file.c_str(), 0);  // of one who was killed
  listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const SocketAddress address(directory_.get(), file);
  // Nobody can connect before listen(): the mode is right by then.
  if (!listener_ || bind(listener_.get(), address.get(), address.size()) != 0 ||
      fchmodat(directory_.get(), file.c_str(), 0600, 0) != 0 ||
      ::listen(listener_.get(), kBacklog) != 0) {
    return fail("the control socket " + file + ": " + std::strerror(errno));
  }
  return {};
}

Claim::~Claim() {
  if (!lock_) return;  // moved from
  unlinkat(directory_.get(), (name_ + ".sock").c_str(), 0);
  unlinkat(directory_.get(), (name_ + ".lock").c_str(), 0);
}

}  // namespace tidewire::control
