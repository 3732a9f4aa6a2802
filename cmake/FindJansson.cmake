# Jansson::jansson.  Jansson's own package config exists only where it was built with CMake; distributions ship jansson.pc.
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
    pkg_check_modules(PC_JANSSON QUIET jansson)
endif()
find_path(Jansson_INCLUDE_DIR jansson.h HINTS ${PC_JANSSON_INCLUDE_DIRS})
find_library(Jansson_LIBRARY jansson HINTS ${PC_JANSSON_LIBRARY_DIRS})
mark_as_advanced(Jansson_INCLUDE_DIR Jansson_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Jansson REQUIRED_VARS Jansson_LIBRARY Jansson_INCLUDE_DIR VERSION_VAR PC_JANSSON_VERSION
                                  REASON_FAILURE_MESSAGE "the brood program writes JSON with it (Debian: libjansson-dev)")

if(Jansson_FOUND AND NOT TARGET Jansson::jansson)
    add_library(Jansson::jansson UNKNOWN IMPORTED)
    set_target_properties(Jansson::jansson PROPERTIES IMPORTED_LOCATION "${Jansson_LIBRARY}"
                          INTERFACE_INCLUDE_DIRECTORIES "${Jansson_INCLUDE_DIR}")
endif()
