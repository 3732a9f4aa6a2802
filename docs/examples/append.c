/* append.c - threads fetch pages and append a line for each to one file, one at a time. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>

static const char *const pages[] = {"news", "weather", "sports", "music", "books", "maps"};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

static struct {
    struct brood_lock lock; /* guards the file */
    FILE *file;
} output;

/* Stands for a request that takes its time. */
static size_t fetch(const char *page)
{
    usleep(1000);
    return strlen(page) * 1000;
}

/* A line is written in two parts, so that without the lock those of several threads would mix. */
static int fetch_and_note(void *page)
{
    size_t bytes = fetch(page);

    BROOD_WITH_LOCK (&output.lock, NULL) {
        fprintf(output.file, "%s ", (const char *)page);
        fprintf(output.file, "%zu bytes, by %s\n", bytes, brood_thread_name(brood_thread_current()));
    }
    return 0;
}

static int count_whole_lines(void)
{
    char line[128], page[32], by[64];
    int whole = 0;
    size_t bytes;

    rewind(output.file);
    while (fgets(line, sizeof(line), output.file)) {
        fputs(line, stdout);
        whole += sscanf(line, "%31s %zu bytes, by %63s", page, &bytes, by) == 3;
    }
    return whole;
}

int main(void)
{
    struct brood_thread *threads[PAGES] = {NULL};
    int whole;

    output.file = tmpfile();
    if (!output.file)
        return 1;
    for (size_t i = 0; i < PAGES; i++)
        if (brood_thread_start(&threads[i], BROOD_THREAD(.run = fetch_and_note, .context = (void *)(uintptr_t)pages[i])) <
            0)
            fprintf(stderr, "%s\n", brood_error());
    for (size_t i = 0; i < PAGES; i++)
        brood_thread_closep(&threads[i]); /* waits for it */
    whole = count_whole_lines();
    fclose(output.file);
    return whole == PAGES ? 0 : 1;
}
