# What can be chosen (all names start with BROOD_), and how every target of this project is compiled.
#
#   BROOD_TESTS     build the tests                           ON when brood is the top-level project
#   BROOD_TOOLS     build the programs in workers/            ON when brood is the top-level project
#   BROOD_URING     AUTO, ON, OFF: io_uring in the supervisor AUTO: if liburing is there
#   BROOD_SANITIZE  list for -fsanitize, e.g. "address;undefined"
#   BROOD_CHECK_VALID  walk data structures at the end of calls (lib/os/assert.h)
#   BROOD_COVERAGE  measure what the tests reach (gcov)
#   BROOD_FUZZ      the fuzz targets in tests/fuzz are libFuzzer's: needs clang
#   BROOD_WERROR    warnings are errors
#   BUILD_SHARED_LIBS  what brood::brood stands for; libbrood.so and libbrood.a are built either way

option(BROOD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(BROOD_TOOLS "Build the programs in workers/" ${PROJECT_IS_TOP_LEVEL})
option(BROOD_CHECK_VALID "Walk data structures at the end of calls" OFF)
option(BROOD_COVERAGE "Measure what the tests reach" OFF)
option(BROOD_FUZZ "Build the fuzz targets for libFuzzer" OFF)
option(BROOD_WERROR "Warnings are errors" OFF)
# The cache belongs to a project that includes this one: an option there would make all its libraries shared.
if(PROJECT_IS_TOP_LEVEL)
    option(BUILD_SHARED_LIBS "brood::brood is the shared library" ON)
elseif(NOT DEFINED BUILD_SHARED_LIBS)
    set(BUILD_SHARED_LIBS ON)
endif()
set(BROOD_SANITIZE "" CACHE STRING "List of sanitizers")
set(BROOD_URING AUTO CACHE STRING "io_uring in the supervisor: AUTO, ON, OFF")
set_property(CACHE BROOD_URING PROPERTY STRINGS AUTO ON OFF)
if(NOT BROOD_URING MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "BROOD_URING is AUTO, ON or OFF, not '${BROOD_URING}'")
endif()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(brood_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes $<$<BOOL:${BROOD_WERROR}>:-Werror>)
set(brood_instruments "")
if(BROOD_SANITIZE)
    string(REPLACE ";" "," sanitizers "${BROOD_SANITIZE}")
    list(APPEND brood_instruments -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()
if(BROOD_COVERAGE)
    list(APPEND brood_instruments --coverage)
endif()
if(BROOD_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "BROOD_FUZZ needs clang: -DCMAKE_C_COMPILER=clang")
    endif()
    list(APPEND brood_instruments -fsanitize=fuzzer-no-link)
endif()
# gcc says at each fence that ThreadSanitizer does not model it: true, and nothing that the code could change.
if("thread" IN_LIST BROOD_SANITIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND brood_warnings -Wno-tsan)
endif()

# brood_target(<target>): the language, the warnings and the instruments that all of this project's targets share.
function(brood_target target)
    set_target_properties(${target} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS ON C_VISIBILITY_PRESET hidden)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE $<$<BOOL:${Liburing_FOUND}>:BROOD_HAVE_URING=1>
                               $<$<BOOL:${BROOD_CHECK_VALID}>:BROOD_CHECK_VALID=1>)
    target_compile_options(${target} PRIVATE ${brood_warnings} ${brood_instruments})
    target_link_options(${target} PRIVATE ${brood_instruments})
    if(BROOD_COVERAGE)
        get_target_property(type ${target} TYPE)
        if(NOT type MATCHES "_LIBRARY$" OR type STREQUAL "OBJECT_LIBRARY")
            target_sources(${target} PRIVATE "${PROJECT_SOURCE_DIR}/cmake/coverage_exit.c")
        endif()
        target_link_options(${target} PRIVATE LINKER:--wrap=_exit)
    endif()
endfunction()
