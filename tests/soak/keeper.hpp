// The connections of a soak that survive it: bytes go round on them from the first to the last
// second.
#pragma once

#include <vector>

#include "worker.hpp"

namespace soak {

inline constexpr int kKept = 4;  ///< connections within the run; as many go through the gateway

/// Accepts kKept connections and gives back what comes, until they end.
inline void keep_server(const Worker& w, int listener) {
  std::array<char, 4096> block;
  std::vector<pollfd> watched;
  for (int i = 0; i < kKept; ++i) {
    const int fd = w.again("accept", [&] { return accept(listener, nullptr, nullptr); });
    watched.push_back({fd, POLLIN, 0});
  }
  while (!watched.empty()) {
    if (poll(watched.data(), watched.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (watched[i].revents == 0) continue;
      const ssize_t n =
          w.again("keeper read", [&] { return read(watched[i].fd, block.data(), block.size()); });
      if (n > 0 && w.write_all(watched[i].fd, block.data(), static_cast<std::size_t>(n))) continue;
      close(watched[i].fd);
      watched[i].fd = -1;
    }
    std::erase_if(watched, [](const pollfd& p) { return p.fd < 0; });
  }
}

struct Kept {
  int fd;
  std::uint64_t key;
  std::uint64_t offset = 0;
};

/// A block goes out and must come back as it was.
inline bool go_round(const Worker& w, Kept& kept) {
  std::array<char, 2048> out;
  std::array<char, 2048> in;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = byte_at(kept.key, kept.offset + i);
  if (!w.write_all(kept.fd, out.data(), out.size()) ||
      w.read_all(kept.fd, in.data(), in.size()) != in.size()) {
    report(w.shared, "a connection that should survive ended: %s",
           errno != 0 ? strerror(errno) : "its end");
    return false;
  }
  if (in != out) {
    report(w.shared, "a connection that survives carried wrong bytes near %llu",
           static_cast<unsigned long long>(kept.offset));
    return false;
  }
  kept.offset += out.size();
  w.shared.kept_bytes += out.size();
  return true;
}

inline void keep_client(const Worker& w, std::uint16_t port, std::uint16_t host_port) {
  std::vector<Kept> all;
  for (int i = 0; i < 2 * kKept; ++i) {
    const sockaddr_in to = loopback(i < kKept ? port : host_port);
    // Under `run` a signal can end even this one (README, Limits).
    const int fd = w.again("keeper socket", [] { return socket(AF_INET, SOCK_STREAM, 0); });
    if (w.again("keeper connect", [&] {
          return connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
        }) != 0) {
      report(w.shared, "a keeper cannot connect: %s", strerror(errno));
      return;
    }
    all.push_back({fd, w.random.state() + static_cast<std::uint64_t>(i)});
  }
  while (w.shared.phase != Phase::over) {
    w.begin();
    for (Kept& kept : all) {
      if (!go_round(w, kept)) return;
    }
    w.done();
    usleep(20'000);
  }
  for (const Kept& kept : all) close(kept.fd);
}

}  // namespace soak
