# Two programs instead of one where musl is there: see src/sibling.h. `vlock` is static with
# musl, `vlock-full` is what `vlock` would be without this file. Measured on a 2-core virtual
# machine, whole `vlock run x -- true`, against flock(1) = 1.00 in the same run: over TCP 0.70
# instead of 1.07, local store 0.53 instead of 0.95 (glibc's start executes dozens of CPUID
# instructions, each of which a virtual machine traps); peak memory 0.7 instead of 1.9 MiB.
# A static glibc was 0.98 over TCP, and cannot load OpenSSL or name services safely either.
#
# vlock_find_musl(OUT): OUT is the directory of musl's start files and gcc specs, or empty.
function(vlock_find_musl out)
    set(${out} "" PARENT_SCOPE)
    if(NOT VLOCK_MUSL OR NOT CMAKE_C_COMPILER_ID STREQUAL GNU OR VLOCK_SANITIZE)
        return()
    endif()
    find_file(VLOCK_MUSL_SPECS musl-gcc.specs PATHS
        "/usr/lib/${CMAKE_SYSTEM_PROCESSOR}-linux-musl" /usr/lib/musl/lib /usr/local/musl/lib
        NO_DEFAULT_PATH)
    mark_as_advanced(VLOCK_MUSL_SPECS)
    if(NOT VLOCK_MUSL_SPECS OR NOT EXISTS "${VLOCK_HIREDIS_SOURCE}/hiredis.c")
        message(STATUS "musl: not found, so there is one vlock, with the system's libc")
        return()
    endif()
    get_filename_component(directory "${VLOCK_MUSL_SPECS}" DIRECTORY)
    if(EXISTS "${directory}/rcrt1.o")
        message(STATUS "musl: ${directory}")
        set(${out} "${directory}" PARENT_SCOPE)
    endif()
endfunction()

# Makes the executable `target` of the sources given, static and position-independent.
function(vlock_add_musl_executable target directory)
    # musl's headers stand alone; of the system's only OpenSSL's are wanted, from both places
    # where a distribution puts them.
    set(include "${CMAKE_BINARY_DIR}/musl/include")
    set(tree "${VLOCK_HIREDIS_SOURCE}")
    file(MAKE_DIRECTORY "${include}")
    foreach(place "${OPENSSL_INCLUDE_DIR}" "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}")
        if(IS_DIRECTORY "${place}/openssl")
            file(COPY "${place}/openssl" DESTINATION "${include}")
        endif()
    endforeach()
    file(CREATE_LINK "${tree}" "${include}/hiredis" SYMBOLIC)
    add_library(vlock_musl_hiredis STATIC)
    foreach(name hiredis net read sds alloc sockcompat async)
        if(EXISTS "${tree}/${name}.c")
            target_sources(vlock_musl_hiredis PRIVATE "${tree}/${name}.c")
        endif()
    endforeach()
    target_compile_options(vlock_musl_hiredis PRIVATE -w -specs=${VLOCK_MUSL_SPECS})
    set_target_properties(vlock_musl_hiredis PROPERTIES C_EXTENSIONS ON)

    add_executable(${target} ${ARGN})
    target_compile_options(${target} PRIVATE -specs=${VLOCK_MUSL_SPECS})
    target_include_directories(${target} SYSTEM PRIVATE "${include}")
    # musl's specs know no static PIE, so its start file is named here.
    target_link_options(${target} PRIVATE -specs=${VLOCK_MUSL_SPECS} -static -nostartfiles
        -Wl,-pie,--no-dynamic-linker,-z,text "${directory}/rcrt1.o" "${directory}/crti.o")
    target_link_libraries(${target} PRIVATE vlock_musl_hiredis "${directory}/crtn.o")
endfunction()
