# What `cmake --install` puts where: the command, the libraries, their public headers, the CMake
# package, the pkg-config file, the man page and the documents.
include(CMakePackageConfigHelpers)

# The public headers are these and whatever they include; nothing else is installed.
file(GLOB public_headers RELATIVE "${PROJECT_SOURCE_DIR}/src" CONFIGURE_DEPENDS
     src/sim/*.hpp src/runtime/*.hpp)
list(APPEND public_headers core/stack.hpp core/tcp/cc/controller.hpp device/device.hpp base/time.hpp base/result.hpp
     base/bytes.hpp base/memory.hpp base/random.hpp base/seq.hpp wire/address.hpp wire/frame.hpp)

# header_closure(OUT header...): the headers and, transitively, the project headers they include.
function(header_closure out)
  set(open ${ARGN})
  set(done "")
  while(open)
    list(POP_FRONT open header)
    if(header IN_LIST done)
      continue()
    endif()
    list(APPEND done ${header})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "src/${header}")
    file(STRINGS "${PROJECT_SOURCE_DIR}/src/${header}" lines REGEX "^#include \"")
    foreach(line ${lines})
      string(REGEX REPLACE "^#include \"([^\"]+)\".*" "\\1" included "${line}")
      list(APPEND open ${included})
    endforeach()
  endwhile()
  list(SORT done)
  set(${out} ${done} PARENT_SCOPE)
endfunction()

header_closure(installed_headers ${public_headers})
foreach(header ${installed_headers})
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES "src/${header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/tidewire/${folder}")
endforeach()

set(installed_libraries runtime sim core device wire base)
set(link_flags "")
foreach(name ${installed_libraries})
  set_target_properties(tidewire_${name} PROPERTIES EXPORT_NAME ${name})
  get_target_property(kind tidewire_${name} TYPE)
  if(kind STREQUAL "STATIC_LIBRARY")
    string(APPEND link_flags " -ltidewire_${name}")
  endif()
  install(TARGETS tidewire_${name} EXPORT tidewire ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endforeach()
set_target_properties(tidewire_options PROPERTIES EXPORT_NAME options)
target_compile_features(tidewire_options INTERFACE cxx_std_23)
install(TARGETS tidewire_options EXPORT tidewire)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/tidewire")
install(EXPORT tidewire NAMESPACE tidewire:: FILE tidewire-targets.cmake
        DESTINATION "${package_dir}")
configure_package_config_file(cmake/tidewire-config.cmake.in tidewire-config.cmake
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(tidewire-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/tidewire-config.cmake"
              "${PROJECT_BINARY_DIR}/tidewire-config-version.cmake" DESTINATION "${package_dir}")

file(RELATIVE_PATH prefix_from_pc "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(cmake/tidewire.pc.in tidewire.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/tidewire.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

file(GLOB manual_pages CONFIGURE_DEPENDS docs/man/*.1)
install(FILES ${manual_pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
install(FILES README.md LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
