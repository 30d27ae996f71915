// How two processes find each other for a link of shared memory: a unix stream socket.
//
// The side that connects is sent one ShmHello, with the memory's descriptor (SCM_RIGHTS) if it is
// welcome. After that a byte on the socket, in either direction, wakes the other side, and the end
// of the stream means that it is gone.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "device/backends/vnet_device.hpp"

namespace tidewire::device {

enum class ShmWelcome : std::uint32_t { yes, taken, failed };

struct ShmHello {
  static constexpr std::uint64_t kMagic = 0x6d68732d65726977;  // "wire-shm"
  static constexpr std::uint32_t kVersion = 1;

  std::uint64_t magic = kMagic;
  std::uint32_t version = kVersion;
  ShmWelcome welcome = ShmWelcome::yes;
  std::uint64_t capacity = 0;  ///< bytes of a lane
  std::uint32_t mtu = 0;
  std::uint32_t unused = 0;
};
static_assert(sizeof(ShmHello) == 32);

/// One of the two is there.
struct ShmPlace {
  OwnedFd listener;  ///< if nobody was there: we are the first
  OwnedFd peer;      ///< a connection to whoever listens
};

/// Connects to `path`, or listens there if nobody does; a socket that nobody answers at is
/// replaced.
Result<ShmPlace, std::string> shm_meet(const std::string& path);
/// Only connects. Nothing if nobody listens.
OwnedFd shm_connect(const std::string& path);

/// The next process at the listener, if one is there and belongs to our user or to root.
OwnedFd shm_accept(int listener);
/// `memory` below 0: none is sent. False if the other side is gone.
bool shm_send_hello(int peer, const ShmHello& hello, int memory);

struct ShmGreeting {
  ShmHello hello;
  OwnedFd memory;
};
enum class ShmNoGreeting { not_yet, gone, not_ours };
/// Waits up to `milliseconds`.
Result<ShmGreeting, ShmNoGreeting> shm_receive_hello(int peer, int milliseconds);
/// Nothing if the greeting is one to go on with, else why not, as one line.
std::string shm_objection(const std::string& path, const ShmHello& hello);

/// Wakes the other side. Never blocks.
void shm_wake(int peer) noexcept;
/// Takes the wake-ups that have arrived; false at the end of the stream. `woken` is set if there
/// was one.
bool shm_take_wakes(int peer, bool& woken) noexcept;

}  // namespace tidewire::device
