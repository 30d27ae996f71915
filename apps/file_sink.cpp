#include "apps/file_sink.hpp"

#include <cerrno>
#include <cstring>

#include "apps/failure.hpp"

namespace tidewire::apps {

FileSink::FileSink(const std::string& path, int status) : file_(std::fopen(path.c_str(), "wbe")) {
  if (!file_) throw Failure("cannot write " + path + ": " + std::strerror(errno), status);
}

void FileSink::write(Bytes bytes) noexcept {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) good_ = false;
}

}  // namespace tidewire::apps
