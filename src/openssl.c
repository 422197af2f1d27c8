#include "openssl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define LIBSSL "libssl.so.3"
#else
#define LIBSSL "libssl.so.1.1"
#endif

static const struct {
    const char *name;
    size_t at;
} functions[] = {
#define X(function) {#function, offsetof(struct openssl, function)},
    OPENSSL_FUNCTIONS(X)
#undef X
};

enum outcome openssl_load(struct openssl *out, struct trouble *why) {
    struct openssl found = {.handle = dlopen(LIBSSL, RTLD_NOW | RTLD_LOCAL)};

    if (!found.handle)
        return trouble_say(why, FAILED, EXIT_SYSTEM, "cannot load %s: %s: install OpenSSL", LIBSSL,
                           dlerror());
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *symbol = dlsym(found.handle, functions[i].name);
        if (!symbol) {
            dlclose(found.handle);
            return trouble_say(why, FAILED, EXIT_SYSTEM, "%s has no '%s': its version is too old",
                               LIBSSL, functions[i].name);
        }
        /* ISO C has no cast from an object pointer to a function pointer; POSIX has both alike. */
        memcpy((char *)&found + functions[i].at, &symbol, sizeof symbol);
    }
    *out = found;
    return DONE;
}
