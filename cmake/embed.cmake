# cmake -DDIRECTORY=src/scripts -DOUTPUT=scripts.h -P embed.cmake
# Each NAME.lua, with head.lua joined in front (and behind that the parts that its first line names:
# '-- with note queue'), becomes `script_NAME` in one header: its text,
# its length, and the SHA1 that EVALSHA knows it by. Joined in a file and read as hex, because
# CMake would take semicolons and brackets in the text for list syntax; written as characters,
# because C promises no string literal beyond 4095 bytes.
file(GLOB head "${DIRECTORY}/head.lua")
file(GLOB scripts "${DIRECTORY}/*.lua")
set(parts note swift queue)
list(REMOVE_ITEM scripts ${head})
foreach(part IN LISTS parts)
    list(REMOVE_ITEM scripts "${DIRECTORY}/${part}.lua")
endforeach()
list(SORT scripts)
set(header "/* Made from src/scripts by cmake/embed.cmake: edit those. */
#ifndef VLOCK_SCRIPTS_H
#define VLOCK_SCRIPTS_H

#include <stddef.h>

struct script {
    const char *name;
    const char *text;
    size_t length;
    const char *sha1;
};
")
get_filename_component(directory "${OUTPUT}" DIRECTORY)
file(MAKE_DIRECTORY "${directory}")
foreach(script IN LISTS scripts)
    get_filename_component(name "${script}" NAME_WLE)
    if(NOT name MATCHES "^[A-Za-z0-9_]+$")
        message(FATAL_ERROR "${script}: its name cannot stand in a C identifier")
    endif()
    set(joined "${OUTPUT}.${name}")
    set(joined_from ${head})
    file(STRINGS "${script}" first LIMIT_COUNT 1)
    foreach(part IN LISTS parts)
        if(first MATCHES "^-- with .*${part}")
            list(APPEND joined_from "${DIRECTORY}/${part}.lua")
        endif()
    endforeach()
    execute_process(COMMAND "${CMAKE_COMMAND}" -E cat ${joined_from} "${script}"
        OUTPUT_FILE "${joined}" RESULT_VARIABLE status)
    if(status)
        message(FATAL_ERROR "${script}: cannot be read")
    endif()
    file(READ "${joined}" hex HEX)
    file(SHA1 "${joined}" sha1)
    file(REMOVE "${joined}")
    string(LENGTH "${hex}" digits)
    math(EXPR length "${digits} / 2")
    string(REGEX REPLACE "(................................)" "\\1\n   " lines "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" " '\\\\x\\1'," bytes "${lines}")
    string(APPEND header "
static const char script_text_${name}[] = {
   ${bytes} '\\0',
};
__attribute__((unused)) static const struct script script_${name} = {
    .name = \"${name}\",
    .text = script_text_${name},
    .length = ${length},
    .sha1 = \"${sha1}\",
};
")
endforeach()
string(APPEND header "\n#endif\n")
file(WRITE "${OUTPUT}" "${header}")
