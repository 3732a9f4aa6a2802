# brood_test(<name> [POLLERS] [TSAN] [VALGRIND] [SERIAL] [IN_PROCESS <argument>] [LABELS <label>...] [TIMEOUT <seconds>]
#            [WHERE_ALLOWED <what>...] [SOURCES <file>...] [LIBRARIES <target>...] [ENVIRONMENT <name>=<value>...])
#
# One test program, tests/<name>.c, linked to libbrood.a, whose hidden symbols it may use; and the ctests that run it:
#
#   <name>            as it is; 0 is a pass, 77 a skip
#   <name>.uring ...  POLLERS: once per way to wait, by BROOD_POLLER (label `poller`)
#   <name>.<what>     WHERE_ALLOWED: its tests that need <what>, with the argument --<what>; skipped where it may not have that
#   <name>.valgrind   VALGRIND: under valgrind, which follows threads but not shared memory (label `valgrind`)
#   <name>.in_process IN_PROCESS, where an emulator cannot run all of it
#   <name>.tsan       TSAN, in a build with ThreadSanitizer, which does not follow it either (label `tsan`)
#
# IN_PROCESS: with this argument the program keeps to one process; given to it under valgrind, ThreadSanitizer and emulators.
# SERIAL: measures time, so nothing runs beside it.
# TIMEOUT is for a plain build on a quiet machine, 60 by default; all runs get a multiple of it, instrumented ones more.

find_program(VALGRIND_PROGRAM valgrind)
find_program(SETARCH_PROGRAM setarch)

# A machine may have ten times the work that it can do: a limit is for what never ends.
set(brood_slowdown 4)
# Tests kill workers by SIGSEGV and the like, and look at how they died: sanitizers shall not make an exit of it.
set(brood_environment "")
# What an emulator cannot run is named in a file, with the reason: ctests, which are disabled, and tests, which their program
# skips and says so (tests/support.c).
set(brood_skipped "")
if(CMAKE_CROSSCOMPILING_EMULATOR)
    set(skipped "${PROJECT_SOURCE_DIR}/tests/emulated.txt")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${skipped}")
    file(STRINGS "${skipped}" brood_skipped REGEX "^[^#]")
    set(brood_environment "BROOD_TESTS_SKIPPED=${skipped}")
endif()
if(BROOD_SANITIZE)
    set(brood_slowdown 8)
    set(signals allocator_may_return_null=1:handle_abort=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0)
    set(brood_environment ASAN_OPTIONS=${signals} TSAN_OPTIONS=${signals} UBSAN_OPTIONS=print_stacktrace=1:${signals})
endif()

# It follows forks, too, and what a child does wrong is the child's exit status.
set(brood_valgrind "")
if(VALGRIND_PROGRAM AND NOT BROOD_SANITIZE AND NOT BROOD_COVERAGE AND NOT CMAKE_CROSSCOMPILING)
    set(brood_valgrind "${VALGRIND_PROGRAM}" --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite
                       --errors-for-leak-kinds=definite --fair-sched=try)
endif()

# gcc 12's ThreadSanitizer gives up where the kernel randomises more address bits than it knows of.
set(brood_launcher "")
if("thread" IN_LIST BROOD_SANITIZE AND SETARCH_PROGRAM)
    execute_process(COMMAND "${SETARCH_PROGRAM}" -R true RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(NOT failed)
        set(brood_launcher "${SETARCH_PROGRAM}" -R)
    endif()
endif()

set(brood_pollers epoll poll)
if(Liburing_FOUND)
    list(PREPEND brood_pollers uring)
endif()

# brood_started_by_path(<target>): a program that another one starts, so that its path is in a test's environment or arguments.
# Where an emulator runs what is built, the kernel cannot start the program itself, and tests get a script in its place.
function(brood_started_by_path target)
    if(NOT CMAKE_CROSSCOMPILING_EMULATOR)
        return()
    endif()
    string(REPLACE ";" " " emulator "${CMAKE_CROSSCOMPILING_EMULATOR}")
    file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/started/${target}"
         CONTENT "#!/bin/sh\nexec ${emulator} '$<TARGET_FILE:${target}>' \"$@\"\n"
         FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
    set_property(GLOBAL APPEND PROPERTY brood_started ${target})
endfunction()

# brood_paths(<variable>): the same list, with those scripts.
function(brood_paths variable)
    get_property(started GLOBAL PROPERTY brood_started)
    set(list "${${variable}}")
    foreach(target IN LISTS started)
        string(REPLACE "$<TARGET_FILE:${target}>" "${PROJECT_BINARY_DIR}/started/${target}" list "${list}")
    endforeach()
    set(${variable} "${list}" PARENT_SCOPE)
endfunction()

# brood_ctest(<name> LABELS ... TIMEOUT ... ENVIRONMENT ... COMMAND ... CONFIGURATIONS ...): add_test with the properties that
# all of them have.  CONFIGURATIONS: it runs only where `ctest -C` names one of them.
function(brood_ctest name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "LABELS;ENVIRONMENT;COMMAND;CONFIGURATIONS")
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 240)
    endif()
    brood_paths(arg_COMMAND)
    brood_paths(arg_ENVIRONMENT)
    add_test(NAME ${name} COMMAND ${arg_COMMAND} CONFIGURATIONS ${arg_CONFIGURATIONS})
    set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT}
                         ENVIRONMENT "${brood_environment};${arg_ENVIRONMENT}" RUN_SERIAL ${arg_SERIAL} SKIP_RETURN_CODE 77)
    if(name IN_LIST brood_skipped)
        set_tests_properties(${name} PROPERTIES DISABLED TRUE)
    endif()
endfunction()

# Tests that lead a process on by single steps know the registers of x86-64.
set(brood_can_step OFF)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(brood_can_step ON)
endif()

# brood_executable(<name> <source>...): a program that may use the library's internals.
function(brood_executable name)
    add_executable(${name} ${ARGN})
    brood_target(${name})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/lib ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${name} PRIVATE brood::static)
endfunction()

function(brood_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "POLLERS;TSAN;VALGRIND;SERIAL" "IN_PROCESS;TIMEOUT"
                          "WHERE_ALLOWED;LABELS;SOURCES;LIBRARIES;ENVIRONMENT")
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 60)
    endif()
    math(EXPR timeout "${arg_TIMEOUT} * ${brood_slowdown}")
    set(environment CK_TIMEOUT_MULTIPLIER=${brood_slowdown} ${arg_ENVIRONMENT})
    set(serial "")
    if(arg_SERIAL)
        set(serial SERIAL)
    endif()

    brood_executable(${name} ${name}.c ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE test_support ${arg_LIBRARIES})

    if("thread" IN_LIST BROOD_SANITIZE)
        if(arg_TSAN)
            brood_ctest(${name}.tsan ${serial} LABELS ${arg_LABELS} tsan TIMEOUT ${timeout} ENVIRONMENT ${environment}
                        COMMAND ${brood_launcher} $<TARGET_FILE:${name}> ${arg_IN_PROCESS})
        endif()
        return()
    endif()

    brood_ctest(${name} ${serial} LABELS ${arg_LABELS} TIMEOUT ${timeout} ENVIRONMENT ${environment} COMMAND ${name})
    foreach(what IN LISTS arg_WHERE_ALLOWED)
        brood_ctest(${name}.${what} ${serial} LABELS ${arg_LABELS} TIMEOUT ${timeout} ENVIRONMENT ${environment}
                    COMMAND ${name} --${what})
    endforeach()
    if(arg_POLLERS)
        foreach(poller IN LISTS brood_pollers)
            brood_ctest(${name}.${poller} ${serial} LABELS ${arg_LABELS} poller TIMEOUT ${timeout}
                        ENVIRONMENT ${environment} BROOD_POLLER=${poller} COMMAND ${name})
        endforeach()
    endif()

    if(arg_IN_PROCESS AND name IN_LIST brood_skipped)
        brood_ctest(${name}.in_process ${serial} LABELS ${arg_LABELS} TIMEOUT ${timeout} ENVIRONMENT ${environment}
                    COMMAND ${name} ${arg_IN_PROCESS})
    endif()

    if(arg_VALGRIND AND brood_valgrind)
        math(EXPR timeout "${arg_TIMEOUT} * 20")
        brood_ctest(${name}.valgrind ${serial} LABELS valgrind TIMEOUT ${timeout}
                    ENVIRONMENT ${arg_ENVIRONMENT} CK_TIMEOUT_MULTIPLIER=20
                    COMMAND ${brood_valgrind} $<TARGET_FILE:${name}> ${arg_IN_PROCESS})
    endif()
endfunction()

# brood_example(<name> [<argument>...]): docs/examples/<name>.c, which sees only what is installed, built and run; under
# valgrind as well, as example.<name>.valgrind, for those in brood_examples_valgrind.
function(brood_example name)
    add_executable(example_${name} ${PROJECT_SOURCE_DIR}/docs/examples/${name}.c)
    brood_target(example_${name})
    set_target_properties(example_${name} PROPERTIES OUTPUT_NAME ${name}
                          RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/examples")
    target_link_libraries(example_${name} PRIVATE brood::brood m)
    brood_ctest(example.${name} LABELS example COMMAND example_${name} ${ARGN})
    if(name IN_LIST brood_examples_valgrind AND brood_valgrind)
        brood_ctest(example.${name}.valgrind LABELS example valgrind TIMEOUT 600 COMMAND ${brood_valgrind} $<TARGET_FILE:example_${name}> ${ARGN})
    endif()
endfunction()

# brood_benchmark(<name> [<source>...]): tests/bench/<name>.c.  Runs when asked for: ctest -C bench -L bench.
function(brood_benchmark name)
    brood_executable(${name} bench/${name}.c ${ARGN})
    target_link_libraries(${name} PRIVATE m)
    brood_ctest(${name} SERIAL LABELS bench CONFIGURATIONS bench TIMEOUT 600 COMMAND ${name})
endfunction()

# brood_soak(<name> [ENVIRONMENT <name>=<value>...] COMMAND <command>...): an hour of a test, as <name>.hour.  Runs when asked
# for: ctest --preset soak.
function(brood_soak name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "ENVIRONMENT;COMMAND")
    brood_ctest(${name}.hour LABELS soak CONFIGURATIONS soak TIMEOUT 4200 ENVIRONMENT ${arg_ENVIRONMENT} COMMAND ${arg_COMMAND})
endfunction()
