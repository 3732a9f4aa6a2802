/* death_report.h - inside the library: deaths to be logged.
 *
 * The host collects a death with the pool locked, but the log may be a function of the program, and the names of a
 * backtrace are in files.  So the host queues a report, and a thread that waits in the pool, or closes it, writes the log
 * without the lock.
 */
#ifndef BROOD_POOL_FUTURE_DEATH_REPORT_H
#define BROOD_POOL_FUTURE_DEATH_REPORT_H

#include <brood/log.h>

#include "pool/core/deferred.h"

/* Adds a message and a backtrace, whose first line gives the place, or "".  If memory is short the death is not logged.
 * Locked. */
void brood__death_report_add(struct brood_pool *pool, enum brood_log_level level, const char *words, const char *backtrace);

/* Logs all reports; true if there were any.  Locked on entry and return, not in between. */
bool brood__death_reports_log(struct brood_pool *pool);

extern const struct deferred brood__deferred_death_reports;

#endif
