// A capture file.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "device/pcapng.hpp"

namespace tidewire::apps {

class FileSink final : public device::ByteSink {
 public:
  /// Throws Failure with `status` if the file cannot be created.
  FileSink(const std::string& path, int status);
  void write(Bytes bytes) noexcept override;
  /// False if something could not be written.
  bool good() const noexcept { return good_; }

 private:
  struct Closer {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Closer> file_;
  bool good_ = true;
};

}  // namespace tidewire::apps
