/* json_out.h - where a command's JSON goes: a file, standard output, or nowhere.
 *
 *     struct json_out out;
 *     if (json_out_open(&out, "brood speedup", option) < 0)     // before the run; says why not, on stderr
 *         return USAGE;
 *     r = json_out_write(&out, table_json(&table));
 *     json_out_close(&out);
 */
#ifndef BROOD_WORKERS_JSON_OUT_H
#define BROOD_WORKERS_JSON_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct json_out {
    const char *program; /* for complaints */
    const char *name;    /* of the file; "-" is standard output, NULL nowhere */
    FILE *file;
};

/* Opens the file before the run, so that an hour's results are not lost to a typing error.  What it contains stays until
 * there is something to replace it.  0, or -EINVAL with one line on stderr. */
int json_out_open(struct json_out *out, const char *program, const char *name);

/* Standard output has the JSON and nothing else. */
bool json_out_alone(const struct json_out *out);

/* Takes `json`, which is NULL when memory ran out.  0, also where nothing is wanted, or -EINVAL with one line on stderr. */
int json_out_write(struct json_out *out, json_t *json);

void json_out_close(struct json_out *out);

#endif
