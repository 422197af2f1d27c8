# cmake -DDIRECTORY=src/scripts -DOUTPUT=scripts.h -P embed.cmake
# Each NAME.lua, with head.lua and the parts that its second line names joined in front of it,
# becomes `script_NAME` in one header: how many keys it declares, its text with the '#!lua' line
# that its first line names, and the text for servers that do not know that line (head.lua says
# what is different), each with the SHA1 that EVALSHA knows it by. Joined in files and read as hex,
# because CMake would take semicolons and brackets in the text for list syntax; written as
# characters, because C promises no string literal beyond 4095 bytes.
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

struct script_text {
    const char *text;
    const char *sha1;
};

struct script {
    const char *name;
    const char *keys; /* how many it declares, as text */
    struct script_text text;
    struct script_text old_text; /* for servers that do not know '#!lua' */
};
")
get_filename_component(directory "${OUTPUT}" DIRECTORY)
file(MAKE_DIRECTORY "${directory}")

# Adds the file `path` to the header as `variable`, removes it, and sets *sha1.
function(add_text variable path sha1)
    file(READ "${path}" hex HEX)
    file(SHA1 "${path}" sum)
    file(REMOVE "${path}")
    string(REGEX REPLACE "(................................)" "\\1\n   " lines "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" " '\\\\x\\1'," bytes "${lines}")
    set(header "${header}
static const char ${variable}[] = {
   ${bytes} '\\0',
};
" PARENT_SCOPE)
    set(${sha1} "${sum}" PARENT_SCOPE)
endfunction()

foreach(script IN LISTS scripts)
    get_filename_component(name "${script}" NAME_WLE)
    if(NOT name MATCHES "^[A-Za-z0-9_]+$")
        message(FATAL_ERROR "${script}: its name cannot stand in a C identifier")
    endif()
    file(STRINGS "${script}" lines LIMIT_COUNT 2)
    list(GET lines 0 first)
    list(GET lines 1 second)
    if(NOT second MATCHES "^-- keys ([0-9]+)")
        message(FATAL_ERROR "${script}: its second line does not say how many keys it declares")
    endif()
    set(keys "${CMAKE_MATCH_1}")
    set(joined_from ${head})
    foreach(part IN LISTS parts)
        if(second MATCHES "with .*${part}")
            list(APPEND joined_from "${DIRECTORY}/${part}.lua")
        endif()
    endforeach()
    set(old "${OUTPUT}.${name}.old")
    set(new "${OUTPUT}.${name}")
    set(line "${OUTPUT}.line")
    set(old_edit "")
    file(WRITE "${line}" "")
    if(first MATCHES "^-- (#!lua.*)$")
        file(WRITE "${line}" "${CMAKE_MATCH_1}\n")
        set(old_edit "s/^-- OLD: //")
    endif()
    execute_process(COMMAND cat "${line}" ${joined_from} "${script}"
        OUTPUT_FILE "${new}" RESULT_VARIABLE new_status)
    execute_process(COMMAND sed "${old_edit}" ${joined_from} "${script}"
        OUTPUT_FILE "${old}" RESULT_VARIABLE old_status)
    file(REMOVE "${line}")
    if(new_status OR old_status)
        message(FATAL_ERROR "${script}: cannot be read")
    endif()
    add_text(script_text_${name} "${new}" sha1)
    add_text(script_old_text_${name} "${old}" old_sha1)
    string(APPEND header "
__attribute__((unused)) static const struct script script_${name} = {
    .name = \"${name}\",
    .keys = \"${keys}\",
    .text = {script_text_${name}, \"${sha1}\"},
    .old_text = {script_old_text_${name}, \"${old_sha1}\"},
};
")
endforeach()
string(APPEND header "\n#endif\n")
file(WRITE "${OUTPUT}" "${header}")
