// What the kernel gave us and gets back when its owner goes.
#pragma once

#include <cstddef>

namespace tidewire::device {

/// A file descriptor that is closed when its owner goes.
class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) noexcept : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  OwnedFd& operator=(OwnedFd&& other) noexcept;
  ~OwnedFd();
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

/// An mmap of ours.
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* at, std::size_t size) noexcept : at_(at), size_(size) {}
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();
  std::byte* data() const noexcept { return static_cast<std::byte*>(at_); }
  std::size_t size() const noexcept { return size_; }
  explicit operator bool() const noexcept { return at_ != nullptr; }

 private:
  void* at_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tidewire::device
