# vlock_hiredis: the system's hiredis when it is new enough (1.1: RESP3 pushes), else one
# compiled from VLOCK_HIREDIS_SOURCE. Sources say #include <hiredis/hiredis.h> for both.
find_package(PkgConfig)
if(PKG_CONFIG_FOUND)
    pkg_check_modules(HIREDIS hiredis>=1.1)
endif()

if(HIREDIS_FOUND)
    # Each shared library costs every start of vlock some 5 %: static when there is one.
    find_library(VLOCK_HIREDIS_ARCHIVE libhiredis.a
        PATHS ${HIREDIS_LIBRARY_DIRS} ${HIREDIS_LIBDIR} NO_DEFAULT_PATH)
    mark_as_advanced(VLOCK_HIREDIS_ARCHIVE)
    add_library(vlock_hiredis INTERFACE)
    target_include_directories(vlock_hiredis SYSTEM INTERFACE
        ${HIREDIS_INCLUDE_DIRS} ${HIREDIS_INCLUDEDIR})
    target_compile_options(vlock_hiredis INTERFACE ${HIREDIS_CFLAGS_OTHER})
    if(VLOCK_HIREDIS_ARCHIVE)
        target_link_libraries(vlock_hiredis INTERFACE ${VLOCK_HIREDIS_ARCHIVE})
        message(STATUS "hiredis ${HIREDIS_VERSION}: ${VLOCK_HIREDIS_ARCHIVE}")
    else()
        target_link_libraries(vlock_hiredis INTERFACE ${HIREDIS_LINK_LIBRARIES})
        message(STATUS "hiredis ${HIREDIS_VERSION}: ${HIREDIS_LINK_LIBRARIES}")
    endif()
    return()
endif()

set(tree "${VLOCK_HIREDIS_SOURCE}")
if(NOT EXISTS "${tree}/hiredis.h")
    message(FATAL_ERROR "No hiredis 1.1 or newer: pkg-config knows none, and there is no source "
        "tree in VLOCK_HIREDIS_SOURCE (${tree}).\nRun: sh packaging/get-hiredis.sh")
endif()
set(version "")
foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${tree}/hiredis.h" line REGEX "^#define HIREDIS_${part} +[0-9]+")
    string(REGEX MATCH "[0-9]+$" number "${line}")
    list(APPEND version "${number}")
endforeach()
list(JOIN version "." version)
if(version VERSION_LESS 1.1)
    message(FATAL_ERROR "The hiredis in ${tree} is ${version}, older than 1.1.\n"
        "Remove it and run: sh packaging/get-hiredis.sh")
endif()
message(STATUS "hiredis ${version}: built from ${tree}")

set(sources "")
foreach(name hiredis net read sds alloc sockcompat async)
    if(EXISTS "${tree}/${name}.c")
        list(APPEND sources "${tree}/${name}.c")
    endif()
endforeach()
add_library(vlock_hiredis STATIC ${sources})
target_compile_options(vlock_hiredis PRIVATE -w)
set_target_properties(vlock_hiredis PROPERTIES C_EXTENSIONS ON)
# A link gives the tree the name that an installed one has.
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/include")
file(CREATE_LINK "${tree}" "${CMAKE_BINARY_DIR}/include/hiredis" SYMBOLIC)
target_include_directories(vlock_hiredis SYSTEM INTERFACE "${CMAKE_BINARY_DIR}/include")
