# Hardening for every build type and every target, hiredis included. What a compiler or
# linker does not know is left out.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

# Position-independent executables. Not CMAKE_POSITION_INDEPENDENT_CODE: it compiles static
# libraries with -fPIC, which forbids the compiler to inline across functions.
add_compile_options(-fPIE)
add_link_options(-pie)

foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection)
    string(MAKE_C_IDENTIFIER "VLOCK_HAS${flag}" known)
    check_c_compiler_flag(${flag} ${known})
    if(${known})
        add_compile_options(${flag})
    endif()
endforeach()

foreach(flag -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
    string(MAKE_C_IDENTIFIER "VLOCK_HAS${flag}" known)
    check_linker_flag(C ${flag} ${known})
    if(${known})
        add_link_options(${flag})
    endif()
endforeach()

if(VLOCK_SANITIZE)
    add_compile_options(-fsanitize=${VLOCK_SANITIZE} -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${VLOCK_SANITIZE})
endif()

# glibc warns about _FORTIFY_SOURCE without optimisation, the sanitizers are blind behind
# its checked functions, and a packager's own level stands.
string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
set(flags "${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${type}}")
if(flags MATCHES "-O[1-9sgf]" AND NOT flags MATCHES "_FORTIFY_SOURCE" AND NOT VLOCK_SANITIZE)
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
