/* memory.c - shared memory by name: two programs that know nothing of each other but that, and what they call it.
 *
 * One makes an array of temperatures and a list of notes in a heap; the other one finds both and adds to them.  (Here the
 * other one is a child; it uses nothing that it inherited.)
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>

#define DAYS 7
#define HEAP_BYTES ((size_t)64 << 10)

/* What lies in the memory: a place for everything, and no pointers. */
struct station {
    BROOD_VALUE(uint64_t) newest_note; /* its offset in the heap; 0: none */
    uint64_t heap_offset;
    char array[] __attribute__((aligned(64)));
};

struct note {
    uint64_t older;
    char words[56];
};

static struct brood_array *temperatures(struct station *station)
{
    return (struct brood_array *)(void *)station->array;
}

static struct brood_heap *notes(struct station *station)
{
    return (struct brood_heap *)(void *)((char *)station + station->heap_offset);
}

static int add_note(struct station *station, const char *words)
{
    uint64_t place;
    struct note *note;
    int r = brood_heap_alloc(notes(station), sizeof(*note), &place, BROOD_FOREVER);

    if (r < 0)
        return r;
    note = brood_heap_at(notes(station), place);
    strncpy(note->words, words, sizeof(note->words) - 1);
    BROOD_WITH_LOCK (&station->newest_note.lock, NULL) {
        note->older = station->newest_note.value;
        station->newest_note.value = place;
    }
    return 0;
}

static int make_station(struct brood_memory **ret_memory, const char *name)
{
    size_t heap_offset = (sizeof(struct station) + brood_array_bytes(DAYS, sizeof(double)) + 63) / 64 * 64;
    int r = brood_memory_create(ret_memory, name, heap_offset + HEAP_BYTES);

    if (r < 0)
        return r;
    struct station *station = brood_memory_address(*ret_memory); /* zeroed */
    station->heap_offset = heap_offset;
    r = brood_array_init(temperatures(station), DAYS, sizeof(double));
    if (r == 0)
        r = brood_heap_init(notes(station), HEAP_BYTES);
    return r;
}

static int observe(void *name)
{
    brood_auto(memory) *memory = NULL;
    int r = brood_memory_attach(&memory, name);

    if (r < 0)
        return r;
    struct station *station = brood_memory_address(memory);
    for (size_t day = 0; day < DAYS && r == 0; day++)
        r = brood_array_set(temperatures(station), day, &(double){15 + 0.5 * (double)day}, BROOD_FOREVER);
    if (r == 0)
        r = add_note(station, "a warm week");
    if (r == 0)
        r = add_note(station, "no rain");
    return r;
}

static void print(struct station *station)
{
    const double *degrees = BROOD_ITEMS(temperatures(station), double);

    for (size_t day = 0; day < DAYS; day++)
        printf("%.1f ", degrees[day]);
    for (uint64_t place = station->newest_note.value; place != 0;) {
        struct note *note = brood_heap_at(notes(station), place);

        printf("| %s ", note->words);
        place = note->older;
    }
    printf("\n");
}

int main(void)
{
    brood_auto(memory) *memory = NULL;
    brood_auto(process) *observer = NULL;
    char name[32];
    int status = 1;

    snprintf(name, sizeof(name), "station-%d", getpid());
    int r = make_station(&memory, name);
    if (r == 0)
        r = brood_process_start(&observer, BROOD_PROCESS(.run = observe, .context = name));
    if (r == 0)
        r = brood_process_join(observer, BROOD_FOREVER);
    if (r == 0)
        r = brood_process_status(observer, &status);
    brood_memory_unlink(name); /* or the name would stay when we are gone */
    if (r < 0) {
        fprintf(stderr, "%s\n", brood_error());
        return 1;
    }
    print(brood_memory_address(memory));
    return status;
}
