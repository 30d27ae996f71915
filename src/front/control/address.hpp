// The address of a unix socket in an open directory.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace tidewire::control {

/// Named through the directory's descriptor: an address has room for 107 bytes, a path may be
/// longer, and another directory cannot be slipped in under its name.
class SocketAddress {
 public:
  /// `file` is a host's name and an ending, which fits.
  SocketAddress(int directory, const std::string& file) {
    const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + file;
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, path.c_str(),
                std::min(path.size() + 1, sizeof address_.sun_path - 1));
  }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t size() const noexcept { return sizeof address_; }

 private:
  sockaddr_un address_{};
};

}  // namespace tidewire::control
