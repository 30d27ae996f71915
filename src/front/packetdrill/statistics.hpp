// The stack's counters under the names that nstat gives those of Linux.
#pragma once

#include <string>

#include "core/counters.hpp"

namespace tidewire::packetdrill {

/// Lines "NAME VALUE", one for each counter that both have, since the stack was made.
std::string nstat_lines(const Counters& counters);

/// A file of these lines, written again whenever one of them says something else.
class StatisticsFile {
 public:
  /// Empty: there is none.
  explicit StatisticsFile(std::string path) : path_(std::move(path)) {}
  void refresh(const Counters& counters);

 private:
  std::string path_;
  std::string text_;
};

}  // namespace tidewire::packetdrill
