// One connection of a soak: what the client asks for, and what both ends check.
//
// The client sends a Request and `size` bytes of the stream `key`. The server sends a Hello as soon
// as it has accepted, and an Answer when it has all the bytes and found them right.
#pragma once

#include "worker.hpp"

namespace soak {

enum class Close : std::uint32_t {
  client_first,  ///< shutdown(SHUT_WR) by the client, then the answer
  server_first,  ///< the server closes after its answer
  reset,         ///< the client closes with SO_LINGER of zero once it has the answer
  unread,        ///< the client closes without having read the answer
};

struct Request {
  std::uint64_t key;
  std::uint32_t size;
  Close close;
};
struct Hello {
  std::int32_t slot;  ///< -1: cannot be killed
  std::uint32_t life;
};
struct Answer {
  std::uint64_t key;
  std::uint32_t size;
  std::uint32_t wrong;
};

/// The server's part, on a connection that was accepted. Closes `fd`.
inline void serve(const Worker& w, int fd, Hello hello) {
  std::array<char, 16384> block;
  Request request{};
  Answer answer{};
  bool whole = w.write_all(fd, reinterpret_cast<const char*>(&hello), sizeof hello) &&
               w.read_all(fd, reinterpret_cast<char*>(&request), sizeof request) == sizeof request;
  answer.key = request.key;
  while (whole && answer.size < request.size) {
    const std::size_t want = std::min<std::size_t>(block.size(), request.size - answer.size);
    whole = w.read_all(fd, block.data(), want) == want;
    for (std::size_t i = 0; whole && i < want; ++i) {
      answer.wrong += block[i] != byte_at(request.key, answer.size + i) ? 1 : 0;
    }
    answer.size += static_cast<std::uint32_t>(want);
  }
  if (whole && request.close == Close::client_first) {
    whole = w.read_all(fd, block.data(), 1) == 0;
  }
  if (whole) (void)w.write_all(fd, reinterpret_cast<const char*>(&answer), sizeof answer);
  close(fd);
}

/// The client's part, on a connected socket. Closes `fd`. True: everything was as it should be;
/// otherwise `hello` tells what is known of the server.
inline bool ask(const Worker& w, int fd, const Request& request, Hello& hello) {
  std::array<char, 16384> block;
  Answer answer{};
  bool good = w.write_all(fd, reinterpret_cast<const char*>(&request), sizeof request) &&
              w.read_all(fd, reinterpret_cast<char*>(&hello), sizeof hello) == sizeof hello;
  for (std::size_t sent = 0; good && sent < request.size;) {
    const std::size_t n = std::min(block.size(), request.size - sent);
    for (std::size_t i = 0; i < n; ++i) block[i] = byte_at(request.key, sent + i);
    good = w.write_all(fd, block.data(), n);
    sent += n;
  }
  if (good && request.close == Close::client_first)
    good = w.again("shutdown", [&] { return shutdown(fd, SHUT_WR); }) == 0;
  if (good && request.close != Close::unread) {
    good = w.read_all(fd, reinterpret_cast<char*>(&answer), sizeof answer) == sizeof answer;
    if (good && (answer.key != request.key || answer.size != request.size || answer.wrong != 0)) {
      report(w.shared, "a server got %u of %u bytes, %u of them wrong", answer.size, request.size,
             answer.wrong);
      good = false;
    }
  }
  if (good && request.close == Close::server_first)
    good = w.read_all(fd, block.data(), 1) == 0 && errno == 0;
  if (request.close == Close::reset) {
    const linger hard{1, 0};
    w.again("SO_LINGER", [&] { return setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); });
  }
  close(fd);
  return good;
}

}  // namespace soak
