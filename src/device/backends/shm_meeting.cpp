#include "device/backends/shm_meeting.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

namespace tidewire::device {
namespace {

constexpr int kTries = 50;
constexpr useconds_t kPause = 20'000;

sockaddr_un address_of(const std::string& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

OwnedFd stream_socket() {
  return OwnedFd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

/// True if the process at the other end may share memory with us.
bool is_one_of_us(int fd) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == geteuid() || peer.uid == 0 || geteuid() == 0;
}

/// Keeps others from replacing the socket at the same time. The lock is the directory's: nothing is
/// left behind. Without it (a directory that cannot be read) it goes on all the same.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& path)
      : fd_(open(directory(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    for (int i = 0; fd_ && i < kTries && flock(fd_.get(), LOCK_EX | LOCK_NB) != 0; ++i) {
      usleep(kPause);
    }
  }

 private:
  static std::string directory(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
  }
  OwnedFd fd_;
};

std::string cannot(const std::string& path, const char* what) {
  std::string text = "cannot " + std::string(what) + " " + path + ": " + error_text(errno);
  if (errno == EACCES || errno == EPERM) {
    text += "; the link is between processes of one user, in a directory that is yours";
  } else if (errno == ENOENT) {
    text += "; the directory must exist";
  }
  return text;
}

/// Listens at `path`, where no socket is any more. An invalid descriptor and errno on failure.
OwnedFd listen_at(const std::string& path) {
  OwnedFd listener = stream_socket();
  const sockaddr_un address = address_of(path);
  // Before bind: the file has this mode from its first moment.
  if (!listener || fchmod(listener.get(), 0600) != 0 ||
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.get(), 4) != 0) {
    return OwnedFd{};
  }
  return listener;
}

}  // namespace

OwnedFd shm_connect(const std::string& path) {
  OwnedFd peer = stream_socket();
  const sockaddr_un address = address_of(path);
  if (peer &&
      connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return peer;
  }
  return OwnedFd{};
}

Result<ShmPlace, std::string> shm_meet(const std::string& path) {
  if (path.empty() || path.size() >= sizeof sockaddr_un{}.sun_path) {
    return fail("'" + path + "' is no path for a socket: 1 to 107 characters");
  }
  const DirectoryLock lock(path);
  for (int i = 0; i < kTries; ++i) {
    struct stat about{};
    const bool exists = lstat(path.c_str(), &about) == 0;
    if (!exists && errno != ENOENT) return fail(cannot(path, "look at"));
    if (exists && !S_ISSOCK(about.st_mode)) {
      return fail(path + " is there and is no socket; choose another path, or remove it");
    }
    ShmPlace place;
    if (exists) {
      place.peer = shm_connect(path);
      if (place.peer && is_one_of_us(place.peer.get())) return place;
      if (place.peer) return fail(path + " belongs to another user; choose a path of your own");
      if (errno == EAGAIN) {  // many are knocking
        usleep(kPause);
        continue;
      }
      if (errno != ECONNREFUSED && errno != ENOENT) return fail(cannot(path, "connect to"));
      // Left behind by a process that was killed.
      if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail(cannot(path, "replace"));
    }
    place.listener = listen_at(path);
    if (place.listener) return place;
    if (errno != EADDRINUSE) return fail(cannot(path, "listen at"));
  }
  return fail(path + " is busy; try again");
}

OwnedFd shm_accept(int listener) {
  OwnedFd peer{accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (peer && !is_one_of_us(peer.get())) return OwnedFd{};
  return peer;
}

bool shm_send_hello(int peer, const ShmHello& hello, int memory) {
  iovec piece{const_cast<ShmHello*>(&hello), sizeof hello};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (memory >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &memory, sizeof memory);
  }
  return sendmsg(peer, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(sizeof hello);
}

Result<ShmGreeting, ShmNoGreeting> shm_receive_hello(int peer, int milliseconds) {
  pollfd poll_for{peer, POLLIN, 0};
  if (poll(&poll_for, 1, milliseconds) <= 0) return fail(ShmNoGreeting::not_yet);
  ShmGreeting greeting;
  iovec piece{&greeting.hello, sizeof greeting.hello};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_LEN(sizeof(int));  // not the padding: one descriptor, no second
  const ssize_t size = recvmsg(peer, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size <= 0) return fail(ShmNoGreeting::gone);
  const cmsghdr* rights = CMSG_FIRSTHDR(&message);
  if (rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
      rights->cmsg_len == CMSG_LEN(sizeof(int))) {
    int memory = -1;
    std::memcpy(&memory, CMSG_DATA(rights), sizeof memory);
    greeting.memory = OwnedFd{memory};
  }
  if (size != sizeof greeting.hello || greeting.hello.magic != ShmHello::kMagic) {
    return fail(ShmNoGreeting::not_ours);
  }
  return greeting;
}

std::string shm_objection(const std::string& path, const ShmHello& hello) {
  if (hello.version != ShmHello::kVersion) {
    return "the process at " + path + " speaks version " + std::to_string(hello.version) +
           " of this link and we " + std::to_string(ShmHello::kVersion) +
           "; start both from the same tidewire";
  }
  switch (hello.welcome) {
    case ShmWelcome::yes:
      break;
    case ShmWelcome::taken:
      return "the link at " + path + " joins two other processes; choose another path";
    default:
      return "the process at " + path + " could not make the shared memory";
  }
  if (hello.mtu < 68 || hello.mtu > 65'535) return "the process at " + path + " names no MTU";
  return {};
}

void shm_wake(int peer) noexcept {
  const char byte = 'w';
  (void)!send(peer, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool shm_take_wakes(int peer, bool& woken) noexcept {
  std::array<char, 512> bytes;
  const ssize_t size = recv(peer, bytes.data(), bytes.size(), MSG_DONTWAIT);
  woken = size > 0;
  if (size > 0) return true;
  return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

}  // namespace tidewire::device
