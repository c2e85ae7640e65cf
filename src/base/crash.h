/* Crashes, which a damaged file is enough for: LMDB trusts, or asserts, what it reads. */
#ifndef LS_BASE_CRASH_H
#define LS_BASE_CRASH_H

/* From now on a crash writes this text, which must stay, to standard error, before the process ends
 * by its signal; NULL: nothing. */
void crash_say(const char *text);

#endif
