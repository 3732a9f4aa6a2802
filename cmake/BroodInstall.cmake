# What `cmake --install` puts where, and `cmake --build DIR --target uninstall` takes away again.  Nothing in an installed
# file names an absolute path, so the tree can be moved.
include(CMakePackageConfigHelpers)

foreach(folder BINDIR LIBDIR INCLUDEDIR)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
        message(FATAL_ERROR "CMAKE_INSTALL_${folder} must be relative to the prefix, not ${CMAKE_INSTALL_${folder}}")
    endif()
endforeach()

# The public headers are those that brood.h includes.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS include/brood.h)
file(STRINGS include/brood.h brood_public_headers REGEX "^#include <brood/")
list(TRANSFORM brood_public_headers REPLACE "#include <(.+)>" "${PROJECT_SOURCE_DIR}/include/\\1")
install(FILES include/brood.h TYPE INCLUDE)
install(FILES ${brood_public_headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/brood")

# One export set a library: a program that uses the shared one need not have what only the static one links to.
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/brood")
install(TARGETS brood EXPORT brood-shared)
install(TARGETS brood_static EXPORT brood-static)
install(EXPORT brood-shared NAMESPACE brood:: DESTINATION "${package_dir}")
install(EXPORT brood-static NAMESPACE brood:: DESTINATION "${package_dir}")
configure_package_config_file(cmake/brood-config.cmake.in brood-config.cmake INSTALL_DESTINATION "${package_dir}")
# While the first number is 0, the second changes with what programs have to be adapted to.
if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(compatible SameMinorVersion)
else()
    set(compatible SameMajorVersion)
endif()
write_basic_package_version_file(brood-config-version.cmake COMPATIBILITY ${compatible})
install(FILES "${PROJECT_BINARY_DIR}/brood-config.cmake" "${PROJECT_BINARY_DIR}/brood-config-version.cmake"
              cmake/FindLiburing.cmake cmake/FindRt.cmake DESTINATION "${package_dir}")

set(pc_requires_private "")
if(Liburing_FOUND)
    set(pc_requires_private "liburing")
endif()
file(RELATIVE_PATH pc_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file(cmake/brood.pc.in brood.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/brood.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

if(BROOD_TOOLS)
    install(TARGETS brood_program brood-worker)
endif()

install(FILES README.md CHANGELOG.md LICENSE TYPE DOC)

# The manual is Markdown, to be read as it is; where pandoc is there, it becomes man pages too.
set(brood_pages_1 brood brood-worker)
file(GLOB brood_pages_3 CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/docs/man" docs/man/brood_*.md)
list(TRANSFORM brood_pages_3 REPLACE "\\.md$" "")
find_program(BROOD_PANDOC pandoc)
mark_as_advanced(BROOD_PANDOC)
foreach(section 1 3)
    foreach(page IN LISTS brood_pages_${section})
        set(source "${PROJECT_SOURCE_DIR}/docs/man/${page}.md")
        install(FILES "${source}" DESTINATION "${CMAKE_INSTALL_DOCDIR}/man")
        if(BROOD_PANDOC)
            set(output "${PROJECT_BINARY_DIR}/man/${page}.${section}")
            add_custom_command(OUTPUT "${output}" DEPENDS "${source}" VERBATIM
                               COMMAND "${CMAKE_COMMAND}" -E make_directory "${PROJECT_BINARY_DIR}/man"
                               COMMAND "${BROOD_PANDOC}" --standalone --shift-heading-level-by=-1 --from gfm --to man
                                       "${source}" --output "${output}")
            list(APPEND brood_man_pages "${output}")
            install(FILES "${output}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
        endif()
    endforeach()
endforeach()
if(BROOD_PANDOC)
    add_custom_target(brood_man ALL DEPENDS ${brood_man_pages})
endif()

configure_file(cmake/uninstall.cmake.in uninstall.cmake @ONLY)
if(PROJECT_IS_TOP_LEVEL)
    add_custom_target(uninstall COMMAND "${CMAKE_COMMAND}" -P "${PROJECT_BINARY_DIR}/uninstall.cmake")
endif()
