# Check::check, the unit test framework.  It is a static library in most distributions, so what it needs itself (subunit,
# librt, libm) is known only to its check.pc.
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
    pkg_check_modules(CHECK QUIET IMPORTED_TARGET check)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Check REQUIRED_VARS CHECK_LINK_LIBRARIES VERSION_VAR CHECK_VERSION
                                  REASON_FAILURE_MESSAGE "the tests need it (Debian: check, pkg-config), or -DBROOD_TESTS=OFF")

if(Check_FOUND AND NOT TARGET Check::check)
    add_library(Check::check INTERFACE IMPORTED)
    target_link_libraries(Check::check INTERFACE PkgConfig::CHECK)
endif()
