/* table.c - numbers for the eye, for the newcomer and for the next program. */
#include "table.h"

#include <math.h>

#include "words.h"

/* ---- words ---- */

static struct phrase crew(const struct row *row)
{
    static const char *const one[KINDS] = {"loop", "thread behind a lock", "thread", "process", "worker program"};
    static const char *const many[KINDS] = {"loops", "threads behind one lock", "threads", "processes", "worker programs"};
    struct phrase phrase;

    snprintf(phrase.text, sizeof(phrase.text), "%d %s", row->workers, row->workers == 1 ? one[row->kind] : many[row->kind]);
    return phrase;
}

/* ---- the table ---- */

/* How many decimals show three digits of the smallest of these numbers, but not more than `most`. */
static int decimals_for(const struct table *table, double (*value)(const struct row *row), int most)
{
    double least = 1;

    for (int i = 0; i < table->count; i++)
        if (value(&table->rows[i]) > 0)
            least = fmin(least, value(&table->rows[i]));
    return (int)fmin(most, 2 - floor(log10(least)));
}

static double seconds_of(const struct row *row)
{
    return row->seconds;
}

static double startup_of(const struct row *row)
{
    return row->startup_seconds;
}

static void print_row(FILE *out, const struct row *row, int decimals, int startup_decimals)
{
    fprintf(out, "%-9s %9d %12.*f %9.2f %11.0f%%", kind_name(row->kind), row->workers, decimals, row->seconds, row->speedup,
            row->efficiency * 100);
    if (row->kind == SERIAL)
        fprintf(out, " %12s", "-");
    else
        fprintf(out, " %12.*f", startup_decimals, row->startup_seconds);
    fprintf(out, " %9.1e\n", row->error);
}

void table_print(FILE *out, const struct table *table)
{
    int decimals = decimals_for(table, seconds_of, 9), startup_decimals = decimals_for(table, startup_of, 6);

    fprintf(out, "%-9s %9s %12s %9s %12s %12s %9s\n", "kind", "workers", "median s", "speedup", "efficiency", "start-up s",
            "error");
    for (int i = 0; i < table->count; i++)
        print_row(out, &table->rows[i], decimals, startup_decimals);
}

/* ---- what it means ---- */

/* Below this, a difference in speed is not worth a word. */
#define NOTABLE 1.1

/* The fastest pool, or NULL. */
static const struct row *best_row(const struct table *table)
{
    const struct row *best = NULL;

    for (int i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];

        if (row->kind > LOCKED && (!best || row->speedup > best->speedup))
            best = row;
    }
    return best;
}

/* A row of more than one locked thread, of as many as the best pool has workers if there is one; or NULL. */
static const struct row *locked_row(const struct table *table, const struct row *best)
{
    const struct row *found = NULL;

    for (int i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];

        if (row->kind == LOCKED && row->workers > 1 && !(found && best && found->workers == best->workers))
            found = row;
    }
    return found;
}

static const char *why_not_faster(const struct table *table, const struct row *best)
{
    if (table->cores == 1)
        return ": there is one core, and the one loop had it already";
    if (best->workers == 1)
        return ": a single worker shares with no other";
    if (table->serial_seconds < 1e-3 || table->serial_seconds < 10 * best->startup_seconds)
        return ": the work is too short to be worth handing out (try more --steps)";
    return ": other programs had the cores, or the chunks are too few or too unequal";
}

/* How much of what its cores can give. */
static struct phrase share_of_cores(const struct table *table, const struct row *row)
{
    int usable = row->workers < table->cores ? row->workers : table->cores;
    const char *cores = usable == 1 ? "core" : "cores";
    struct phrase phrase;

    if (row->efficiency < NOTABLE)
        snprintf(phrase.text, sizeof(phrase.text), "%.0f%% of what %d %s can give", row->efficiency * 100, usable, cores);
    else
        snprintf(phrase.text, sizeof(phrase.text), "more than %d %s can give: the machine was not quiet", usable, cores);
    return phrase;
}

static void explain_best(FILE *out, const struct table *table, const struct row *best)
{
    if (best->speedup < NOTABLE)
        say(out,
            "Nothing was much faster than one loop on one core; the best, %s, did the work in %s, %.2f times as fast%s.",
            crew(best).text, duration(best->seconds).text, best->speedup, why_not_faster(table, best));
    else
        say(out, "Best: %s did the work in %s, %.2f times as fast as one loop on one core (%s).", crew(best).text,
            duration(best->seconds).text, best->speedup, share_of_cores(table, best).text);
}

static void explain_locked(FILE *out, const struct row *locked)
{
    if (locked->speedup < NOTABLE)
        say(out,
            "%s ran %.2f times as fast as the one loop: only the thread that holds the lock computes, as with a global "
            "interpreter lock.",
            crew(locked).text, locked->speedup);
    else
        say(out,
            "%s ran %.2f times as fast as the one loop, though only one of them computes at a time: the machine was not "
            "quiet, and the other numbers are as doubtful.",
            crew(locked).text, locked->speedup);
}

static void explain_startup(FILE *out, const struct table *table, const struct row *best)
{
    say(out, "Before the work began, %s took %s to get ready; one loop on one core does all of it in %s.", crew(best).text,
        duration(best->startup_seconds).text, duration(table->serial_seconds).text);
}

void table_explain(FILE *out, const struct table *table)
{
    const struct row *best = best_row(table), *locked = locked_row(table, best);

    if (best)
        explain_best(out, table, best);
    else
        say(out, "One loop on one core took %s.", duration(table->serial_seconds).text);
    if (locked)
        explain_locked(out, locked);
    else if (best)
        explain_startup(out, table, best);
    else
        say(out, "Ask for more --kinds to see what threads and processes make of it.");
}

/* ---- JSON ---- */

/* JSON has no word for what is not a number: null. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *row_object(const struct row *row)
{
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", kind_name(row->kind), "workers", row->workers,
                     "seconds", number(row->seconds), "speedup", number(row->speedup), "efficiency",
                     number(row->efficiency), "startup_seconds", number(row->startup_seconds), "result",
                     number(row->result), "error", number(row->error));
}

json_t *table_json(const struct table *table)
{
    json_t *array = json_array();

    for (int i = 0; i < table->count; i++) {
        if (json_array_append_new(array, row_object(&table->rows[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}
