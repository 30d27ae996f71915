// Where running hosts are found: a directory that belongs to one user alone.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "runtime/fd.hpp"

namespace tidewire::control {

/// Where to look; the defaults are those of this process.
struct PlaceOptions {
  std::string runtime_directory;  ///< XDG_RUNTIME_DIR; empty: not set
  std::string temporary = "/tmp";
  uid_t uid = 0;  ///< who it has to belong to

  static PlaceOptions of_this_process();
};

/// The directory, open.
struct Place {
  runtime::Fd directory;
  std::string path;
};

/// Opens $XDG_RUNTIME_DIR/tidewire or, where there is no such directory to write to,
/// /tmp/tidewire-UID, and makes it if it is missing. The error is one line: it belongs to somebody
/// else, others may write to it, it is no directory but a link.
Result<Place, std::string> open_place(const PlaceOptions& options);

/// A path of a file in it that every system call takes, however long the directory's own is.
std::string path_in(const Place& place, std::string_view file);

/// 1 to 64 letters, digits, '.', '_' and '-', the first a letter or a digit.
bool is_host_name(std::string_view name) noexcept;
/// The name of a run that was given none.
std::string name_of_run(pid_t pid);
/// True for names of that form: they are given out by process number.
bool is_run_name(std::string_view name) noexcept;

/// The hosts that may be running, sorted; some may have been killed.
std::vector<std::string> host_names(const Place& place);

}  // namespace tidewire::control
