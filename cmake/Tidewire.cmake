# Conventions shared by all targets.
# A library is a set of folders: every *.cpp in them belongs to it, every *_test.cpp to its test
# program, so that adding a file needs no edit here.

find_package(Threads REQUIRED)
if(TIDEWIRE_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

add_library(tidewire_options INTERFACE)
target_include_directories(tidewire_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:include/tidewire>
  $<INSTALL_INTERFACE:include>)
target_compile_options(tidewire_options INTERFACE
  $<BUILD_INTERFACE:-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor
                    -Woverloaded-virtual -Werror=return-type -Werror=switch -fno-strict-aliasing>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Position-independent code may inline its own functions, as clang has it: nobody replaces them.
  target_compile_options(tidewire_options INTERFACE
    $<BUILD_INTERFACE:$<$<BOOL:$<TARGET_PROPERTY:TIDEWIRE_DATA_PATH>>:-fno-semantic-interposition>>)
endif()
if(TIDEWIRE_SANITIZE)
  # vptr needs type information, which the core is compiled without.
  add_compile_options(-fsanitize=${TIDEWIRE_SANITIZE} -fno-sanitize=vptr -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TIDEWIRE_SANITIZE})
endif()
if(CMAKE_INTERPROCEDURAL_OPTIMIZATION AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The installed libraries are for other compilers and linkers too.
  add_compile_options(-ffat-lto-objects)
endif()
if(TIDEWIRE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Which ways the data path goes, counted in a run of bench/instructions.cpp, so that the compiler lays
# out and inlines for them. `record` counts; `use` reads what was counted from beside the object files,
# where it is. `./dev build lto` does both.
set(TIDEWIRE_TRAINING "" CACHE STRING "Profile of the data path: record, use or nothing")
set(training_options "")
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Only GCC reads these counts.
elseif(TIDEWIRE_TRAINING STREQUAL "record")
  set(training_options -fprofile-generate -fprofile-update=single)
elseif(TIDEWIRE_TRAINING STREQUAL "use")
  # What the run did not come to is compiled as without a profile.
  set(training_options -fprofile-use -fprofile-partial-training -Wno-missing-profile
      -Wno-error=coverage-mismatch)
elseif(TIDEWIRE_TRAINING)
  message(FATAL_ERROR "TIDEWIRE_TRAINING is record, use or nothing, not ${TIDEWIRE_TRAINING}")
endif()

# tidewire_library(NAME DIRS d... DEPENDS t... [CORE] [DATA_PATH])
# CORE: compiled without exceptions and RTTI. DATA_PATH: every packet passes here.
function(tidewire_library name)
  cmake_parse_arguments(arg "CORE;DATA_PATH" "" "DIRS;DEPENDS;TEST_DEPENDS" ${ARGN})
  set(sources "")
  set(tests "")
  foreach(dir ${arg_DIRS})
    file(GLOB found CONFIGURE_DEPENDS "${dir}/*.cpp")
    foreach(file ${found})
      if(file MATCHES "_test\\.cpp$")
        list(APPEND tests ${file})
      else()
        list(APPEND sources ${file})
      endif()
    endforeach()
  endforeach()
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC tidewire_options ${arg_DEPENDS})
    set_target_properties(${name} PROPERTIES TIDEWIRE_DATA_PATH "${arg_DATA_PATH}")
    if(arg_DATA_PATH)
      target_compile_options(${name} PRIVATE ${training_options})
      if(TIDEWIRE_TRAINING STREQUAL "record")
        target_link_options(${name} INTERFACE -fprofile-generate)
      endif()
    endif()
    if(arg_CORE)
      target_compile_options(${name} PRIVATE -fno-exceptions -fno-rtti)
    endif()
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE tidewire_options ${arg_DEPENDS})
  endif()
  if(TIDEWIRE_TESTS AND tests)
    add_executable(${name}_test ${tests})
    set_target_properties(${name}_test PROPERTIES TIDEWIRE_DATA_PATH "${arg_DATA_PATH}")
    target_link_libraries(${name}_test PRIVATE ${name} ${arg_TEST_DEPENDS} GTest::gtest GTest::gmock
                                               GTest::gtest_main)
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT 120)
  endif()
endfunction()
