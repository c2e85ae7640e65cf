/*
 * Log lines for an operator, written to stderr: time, level, sentence, one line each.
 * Only the programs set the level and only server/ and cli/ log; the library is silent.
 */
#ifndef LS_BASE_LOG_H
#define LS_BASE_LOG_H

enum log_level { LOG_ERROR = 0, LOG_WARNING = 1, LOG_NOTICE = 2, LOG_DEBUG = 3 };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* "error", "warning", "notice", "debug"; -1 for another name. */
int log_level_from_name(const char *name);
const char *log_level_name(enum log_level level);

/* Any thread. Control characters in the sentence are escaped. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
