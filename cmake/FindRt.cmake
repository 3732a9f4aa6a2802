# Rt::rt: shm_open().  It moved from librt into libc with glibc 2.34 and was always in musl's; then Rt::rt is empty.
# Installed with brood: a program that links libbrood.a needs it too.
include(CheckSymbolExists)
include(CheckLibraryExists)
check_symbol_exists(shm_open sys/mman.h Rt_IN_LIBC)
if(Rt_IN_LIBC)
    set(Rt_LIBRARY "in libc")
else()
    check_library_exists(rt shm_open "" Rt_IN_LIBRT)
    if(Rt_IN_LIBRT)
        set(Rt_LIBRARY rt)
    endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Rt REQUIRED_VARS Rt_LIBRARY)

if(Rt_FOUND AND NOT TARGET Rt::rt)
    add_library(Rt::rt INTERFACE IMPORTED)
    if(NOT Rt_IN_LIBC)
        target_link_libraries(Rt::rt INTERFACE rt)
    endif()
endif()
