#include "device/backends/owned.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

namespace tidewire::device {

OwnedFd& OwnedFd::operator=(OwnedFd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

Mapping::Mapping(Mapping&& other) noexcept
    : at_(std::exchange(other.at_, nullptr)), size_(other.size_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(at_, other.at_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (at_ != nullptr) munmap(at_, size_);
}

}  // namespace tidewire::device
