/* store.c - which kind of store an address names; all else is that kind's. */
#include "store.h"

#include "address.h"

extern const struct store_kind store_local;
extern const struct store_kind store_valkey;

/* The kinds, by what a URL can name. */
static const struct store_kind *const kinds[] = {
    [ADDRESS_TCP] = &store_valkey,
    [ADDRESS_UNIX] = &store_valkey,
    [ADDRESS_LOCAL] = &store_local,
};

enum outcome store_open(const struct address *address, const struct access *access,
                        struct loop *loop, struct store **out, struct trouble *why) {
    return kinds[address->kind]->open(address, access, loop, out, why);
}

enum outcome store_ask(struct store *store, const struct request *request, int64_t deadline_ms,
                       struct answer *out, struct trouble *why) {
    return store->kind->ask(store, request, deadline_ms, out, why);
}

enum outcome store_await(struct store *store, const struct request *request, int64_t until_ms,
                         struct trouble *why) {
    return store->kind->await(store, request, until_ms, why);
}

enum outcome store_watch(struct store *store, const struct request *request, int64_t until_ms,
                         bool *suspect, struct trouble *why) {
    return store->kind->watch(store, request, until_ms, suspect, why);
}

unsigned store_forked(struct store *store, int kept[STORE_KEEPS]) {
    return store->kind->forked(store, kept);
}

bool store_shows_life(const struct store *store) {
    return store->kind->shows_life;
}

void store_share(struct store *store, store_sharer *share, void *arg) {
    store->share = share;
    store->share_arg = arg;
}

void store_close(struct store *store) {
    if (store)
        store->kind->close(store);
}
