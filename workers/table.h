/* table.h - what a run of `brood speedup` found: as a table, in words and as JSON.
 *
 *     struct table table = {.rows = rows, .count = n, .cores = 2, .serial_seconds = 0.13};
 *     table_print(stdout, &table);
 *     table_explain(stdout, &table);
 *     r = json_out_write(&out, table_json(&table));
 */
#ifndef BROOD_WORKERS_TABLE_H
#define BROOD_WORKERS_TABLE_H

#include <jansson.h>
#include <stdio.h>

#include "measure.h"

struct row {
    enum kind kind;
    int workers;
    double seconds;         /* median over the repeats */
    double startup_seconds; /* median over the repeats */
    double speedup;         /* over the serial run */
    double efficiency;      /* speedup / the cores that so many workers can use */
    double result;
    double error; /* of the result */
};

struct table {
    const struct row *rows;
    int count;
    int cores; /* that this process may use */
    double serial_seconds;
};

void table_print(FILE *out, const struct table *table);

/* Two sentences for readers that see such a table for the first time, made from its numbers. */
void table_explain(FILE *out, const struct table *table);

/* An array with an object for each row, the caller's; NULL when memory ran out. */
json_t *table_json(const struct table *table);

#endif
