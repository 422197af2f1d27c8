/* signame.h - signals by the names that kill(1) and timeout(1) know. */
#ifndef VLOCK_SIGNAME_H
#define VLOCK_SIGNAME_H

#include <stdbool.h>

/* Reads TERM, SIGTERM, sigterm, 15, RTMIN, RTMIN+1 or RTMAX-1 into *signo. False, *signo
 * untouched, on anything else: 0, numbers that no signal has, and the two that the C library
 * keeps for itself (32 and 33). */
bool signame_parse(const char *text, int *signo);

#endif
