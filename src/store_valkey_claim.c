/* store_valkey_claim.c - how long a lock that was handed to us is ours, without asking.
 *
 * What is handed over is a claim, and short. A message says so: 'granted FENCE MS PROOF'. When the
 * claim began it cannot say, as it may have been long on its way, and we may have been stopped. But
 * a server answers over one connection in the order in which it does things: what is heard behind
 * an answer happened after the question was sent. So the claim lasts at least until MS after the
 * last question that was answered before the message was heard had been sent, by our own clock. If
 * enough of that is left (lease.h), a command can begin at once, and the lock be renewed meanwhile:
 * one way to the server and back less between one command and the next. If not, it is confirmed
 * first.
 *
 * What was heard before an answer, and is not told by it, is over.
 *
 * PROOF is the half of our id that is not in the name of our bell: who can only publish, and does
 * not see the queue, does not know it. A message without it is what all others are, a hint. */
#include <string.h>

#include "clock.h"
#include "store_valkey_part.h"
#include "text.h"

enum { WORDS_BYTES = 64 };

void valkey_claim_answered(struct wait *wait, const struct answer *answer) {
    wait->claim = (struct claim){.since_ms = answer->asked_ms,
                                 .took_ms = clock_now_ms() - answer->asked_ms,
                                 .last = answer->fence};
}

void valkey_claim_heard(struct wait *wait, const char *words) {
    unsigned long long fence, ms;
    char copy[WORDS_BYTES], *rest = NULL, *word[3];

    wait->claim.ms = 0;
    if (*words != ' ' || !text_copy(copy, sizeof copy, words, strlen(words)))
        return;
    for (int i = 0; i < 3; i++)
        word[i] = strtok_r(i == 0 ? copy : NULL, " ", &rest);
    if (!word[0] || !word[1] || !word[2] || strcmp(word[2], wait->id + BELL_DIGITS) != 0 ||
        !text_number(word[0], UINT64_MAX, &fence) || !text_number(word[1], TTL_MAX_MS, &ms))
        return;
    if (fence <= wait->claim.last) /* every grant has a greater one */
        return;
    wait->claim.ms = (int64_t)ms;
    wait->claim.fence = fence;
}

bool valkey_claim_known(const struct valkey *v, struct answer *out) {
    const struct claim *claim = &v->wait.claim;

    if (!claim->ms || !claim->since_ms)
        return false;
    *out = (struct answer){.asked_ms = claim->since_ms,
                           .ttl_ms = claim->ms,
                           .fence = claim->fence,
                           .fenced = true,
                           .claimed = true,
                           .took_ms = claim->took_ms,
                           .place = -1};
    return true;
}
