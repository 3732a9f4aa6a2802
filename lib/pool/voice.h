/* voice.h - what the tasks of a worker process print: the supervisor's side.
 *
 * Each process that it forks has pipes for standard output and error, or one for both.  What comes out of them is kept, the
 * end of it, for the death certificate; or handed on line by line to where the host's own output goes, with the name of the
 * task before it.  The supervisor never waits, neither for the worker nor for who reads the host's output: if that one is
 * slow the worker's pipes are left alone until there is room again, so that in the end the worker waits, as it would if the
 * output were its own.
 */
#ifndef BROOD_POOL_VOICE_H
#define BROOD_POOL_VOICE_H

#include "os/sink.h"
#include "pool/output.h"
#include "shm/certificate.h"

struct supervisor;

#define TAG_VOICE ((uint64_t)2 << 32) /* in the poller, and its index * OUTPUT_PIPES + the pipe's */
#define TAG_SINK ((uint64_t)3 << 32)

#define VOICE_LINE 4096 /* a longer line is cut up */
#define VOICE_READ 4096

struct stream {
    int fd; /* to read from, or -1 */
    bool is_paused;
    unsigned task;   /* that the last mark named, and … */
    uint32_t number; /* … its number */
    uint64_t taken;  /* bytes so far, marks included */
    size_t in_bytes, line_bytes;
    char in[VOICE_READ + sizeof(struct mark)]; /* read and not yet looked through */
    char line[VOICE_LINE];                     /* of which the end has not come */
};

struct voice {
    bool is_used;
    int worker; /* its number, or -1 */
    struct station *station;
    struct stream streams[OUTPUT_PIPES];
    uint32_t number;     /* the last mark of any stream, since when … */
    uint64_t kept_bytes; /* … so much has been printed, the end of which is here, going round */
    char kept[CERTIFICATE_OUTPUT];
    int ends[OUTPUT_PIPES]; /* to write to, while the process is being forked */
};

struct voices {
    struct voice *all; /* NULL: the workers print where the host does */
    unsigned count, pipes;
    bool prefixes;
    struct sink sinks[OUTPUT_PIPES];
    bool waits[OUTPUT_PIPES];    /* for a sink's reader */
    uint64_t lost[OUTPUT_PIPES]; /* bytes for which a sink had no room */
    void (*sigpipe)(int);        /* what it was before */
};

/* 0, or -ENOMEM in words. */
int brood__voices_open(struct supervisor *s);

/* A voice for a process that is about to be forked, or NULL if they have none.  0, or a negative errno in words. */
int brood__voice_open(struct supervisor *s, struct voice **ret_voice);

/* In that process: from now on it speaks with this voice.  The other one's end is closed in the supervisor. */
void brood__voice_take_on(struct supervisor *s, const struct voice *voice);
int brood__voice_listen(struct supervisor *s, struct voice *voice);

/* It is that worker's, from before the worker knows its number. */
void brood__voice_name(struct supervisor *s, struct voice *voice, unsigned worker);

/* Its process is dead: what is left in its pipes, as far as that was there when this was called. */
void brood__voice_finish(struct supervisor *s, struct voice *voice);

/* The end of what the last task has printed, as text. */
void brood__voice_testify(const struct voice *voice, char ret_text[CERTIFICATE_OUTPUT]);

void brood__voice_close(struct supervisor *s, struct voice *voice);

/* In a process that has inherited everything: its own stay, as standard output and error. */
void brood__voices_forget(struct supervisor *s);

/* Something can be read there, or written. */
void brood__voices_hear(struct supervisor *s, uint64_t tag);
void brood__voices_hand_on(struct supervisor *s, unsigned sink);

/* Has everything been handed on? */
bool brood__voices_are_still(const struct supervisor *s);

#endif
