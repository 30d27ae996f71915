#include "front/control/place.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace tidewire::control {

namespace {

constexpr std::size_t kLongestName = 64;
constexpr std::string_view kSocket = ".sock";

bool is_alphanumeric(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string user_name(uid_t uid) {
  const passwd* entry = getpwuid(uid);
  const std::string number = "user " + std::to_string(uid);
  return entry == nullptr ? number : number + " (" + entry->pw_name + ")";
}

std::string problem(const std::string& path, int error) {
  return "the directory of running hosts " + path + ": " + std::strerror(error);
}

/// Opens a directory that is ours alone; errno value 0 with a line says why it is not.
struct Refusal {
  int error = 0;
  std::string line;
};

Result<Place, Refusal> open_own(const std::string& path, uid_t uid) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(Refusal{errno, problem(path, errno)});
  }
  Place place{runtime::Fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)),
              path};
  struct stat about{};
  // A link in its place is the trap of a stranger: of a directory that is ours EACCES cannot come.
  if (!place.directory && errno == EACCES && lstat(path.c_str(), &about) == 0 &&
      about.st_uid != uid) {
    return fail(Refusal{0, "the directory of running hosts " + path + " belongs to " +
                               user_name(about.st_uid) + ", not to " + user_name(uid)});
  }
  if (!place.directory) {
    const int error = errno;
    if (error == ELOOP || error == ENOTDIR) {
      return fail(Refusal{0, path + " is no directory (or a link to one); remove it"});
    }
    return fail(Refusal{error, problem(path, error)});
  }
  if (fstat(place.directory.get(), &about) != 0) return fail(Refusal{errno, problem(path, errno)});
  if (about.st_uid != uid) {
    return fail(Refusal{0, "the directory of running hosts " + path + " belongs to " +
                               user_name(about.st_uid) + ", not to " + user_name(uid)});
  }
  if ((about.st_mode & 077) != 0) {
    return fail(Refusal{0, "others may enter the directory of running hosts " + path +
                               "; make it yours alone: chmod 700 " + path});
  }
  return place;
}

}  // namespace

PlaceOptions PlaceOptions::of_this_process() {
  PlaceOptions options;
  if (const char* directory = std::getenv("XDG_RUNTIME_DIR")) {
    // The base directory specification: a relative path counts as none.
    if (directory[0] == '/') options.runtime_directory = directory;
  }
  options.uid = geteuid();
  return options;
}

Result<Place, std::string> open_place(const PlaceOptions& options) {
  struct stat about{};
  const std::string& given = options.runtime_directory;
  const std::string inside = given + "/tidewire";
  // In another user's (sudo, su) nothing is made; what is there already is looked at, and refused.
  const bool ours = !given.empty() && stat(given.c_str(), &about) == 0 &&
                    (about.st_uid == options.uid || lstat(inside.c_str(), &about) == 0);
  if (ours) {
    auto place = open_own(inside, options.uid);
    if (place) return std::move(*place);
    const int error = place.error().error;
    if (error != ENOENT && error != EACCES && error != EROFS && error != ENOTDIR) {
      return fail(std::move(place.error().line));
    }
  }
  auto place =
      open_own(options.temporary + "/tidewire-" + std::to_string(options.uid), options.uid);
  if (!place) return fail(std::move(place.error().line));
  return std::move(*place);
}

std::string path_in(const Place& place, std::string_view file) {
  return "/proc/self/fd/" + std::to_string(place.directory.get()) + "/" + std::string(file);
}

bool is_host_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > kLongestName || !is_alphanumeric(name.front())) return false;
  return std::ranges::all_of(
      name, [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

std::string name_of_run(pid_t pid) { return "run-" + std::to_string(pid); }

bool is_run_name(std::string_view name) noexcept {
  constexpr std::string_view kPrefix = "run-";
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) return false;
  return std::ranges::all_of(name.substr(kPrefix.size()),
                             [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<std::string> host_names(const Place& place) {
  std::vector<std::string> names;
  DIR* directory = opendir(path_in(place, ".").c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory)) {
    std::string_view file = entry->d_name;
    if (!file.ends_with(kSocket)) continue;
    file.remove_suffix(kSocket.size());
    if (is_host_name(file)) names.emplace_back(file);
  }
  closedir(directory);
  std::ranges::sort(names);
  return names;
}

}  // namespace tidewire::control
