// expect ok:
// expect ok:    -DKILLS=2 -DROUNDS=2
// expect ok:    -DKILLS=2 -DROUNDS=2 -DBIT
// expect ok:    -DKILLS=2 -DROUNDS=2 -DFENCES
// expect ok:    -DKILLS=2 -DROUNDS=2 -DCYCLES
// expect ok:    -DKILLS=2 -DROUNDS=2 -DBIT -DCYCLES
// expect error: -DNOMB                # no membarrier before the last look
// expect error: -DNOMB -DBIT          # the same
// expect error: -DFENCES -DNOFENCE_W  # fences instead of membarrier, but none in the waker
// expect error: -DFENCES -DNOFENCE_S  # the same, but none in the sleeper
// expect error: -DONEBIT              # a generation of one bit
// expect error: -DONEBIT -DBIT        # the same
// expect error: -DNOGEN               # a wake that leaves the generation alone: lost while the sleeper has not queued yet
// expect error: -DLATEGEN             # the generation is read after the last look
// expect error: -DKILLS=1 -DNOKICK    # a death wakes nobody
// expect error: -DKILLS=1 -DLOSTONLY  # a death wakes only if something was lost: the victim had published, but not woken
// expect error: -DKILLS=1 -DLOSTONLY -DBIT # the same: the victim had taken the bit, but not woken
// expect error: -DKILLS=1 -DEARLYKICK # the supervisor wakes first and marks the death afterwards

/* Parking and waking by itself: one sleeper, two wakers, a waker killed before any step, a supervisor that kicks.
 *
 * The sleeper waits for news from both wakers, each of which publishes ROUNDS times with a plain store.  The sleeper must
 * not sleep while there is news, and must hear of a waker's death.  `armed` is the byte beside a slot that names a parker;
 * with BIT it is the sleeper's bit in the idle bitmap, which whoever wakes takes away first.  FENCES is the form for
 * kernels without membarrier: a fence on both sides.  README.md says more. */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif

#if defined(ONEBIT)
#define NEXT(g) (1 - (g))
#elif defined(NOGEN)
#define NEXT(g) (g)
#else
#define NEXT(g) ((g) + 1)
#endif

byte out[2];  /* what a waker has published */
bool gone[2]; /* the supervisor's mark: nothing more comes from it; in one word with out */
bool armed;
byte gen;

bool asleep;  /* the kernel: the sleeper is queued on `gen` */
bool dead[2]; /* the kernel: its pidfd is readable */

byte late_out[2]; /* in a waker's store buffer */
bool late_armed;  /* in the sleeper's */

byte kills = KILLS;

inline drain(r)
{
    if :: late_out[r] -> out[r] = late_out[r]; late_out[r] = 0 :: else fi
}

#if KILLS > 0
#define STEP(x) atomic { if :: kills > 0 -> kills--; goto killed :: true fi; x }
#else
#define STEP(x) atomic { x }
#endif

proctype waker(byte r)
{
    byte n;
    bool a;

publish:
    if :: n == ROUNDS -> goto over :: else fi;
    STEP(n++; drain(r); if :: out[r] = n :: late_out[r] = n fi);
#if defined(FENCES) && !defined(NOFENCE_W)
    STEP(drain(r));
#endif
    STEP(a = armed; if :: !a -> goto publish :: else fi);
#ifdef BIT
    STEP(drain(r); a = false; if :: armed -> armed = false :: else -> goto publish fi);
#endif
    STEP(drain(r); a = false; gen = NEXT(gen));
    STEP(asleep = false);
    goto publish;
killed:
    atomic { drain(r); a = false; n = 0; dead[r] = true };
    goto quit;
over:
    atomic { drain(r); n = 0 };
quit:
    skip
}

#define NEWS(r) (out[r] != seen[r] || gone[r] != lost[r])
#define LOOK(r) atomic { seen[r] = out[r]; lost[r] = gone[r] }
#define HEARD(r) (seen[r] == ROUNDS || lost[r])

proctype sleeper()
{
    byte seen[2], g;
    bool lost[2];

again:
    LOOK(0);
    LOOK(1);
    if :: HEARD(0) && HEARD(1) -> goto heard :: else fi;
#ifndef LATEGEN
    g = gen;
#endif
#ifdef BIT
    armed = true;
#else
    if :: armed = true :: late_armed = true fi;
#endif
#ifdef FENCES
#ifndef NOFENCE_S
    atomic { if :: late_armed -> armed = true; late_armed = false :: else fi };
#endif
#else
#ifndef NOMB
    atomic { drain(0); drain(1); if :: late_armed -> armed = true; late_armed = false :: else fi };
#endif
#endif
    if :: NEWS(0) -> goto disarm :: else fi;
    if :: NEWS(1) -> goto disarm :: else fi;
#ifdef LATEGEN
    g = gen;
#endif
    /* the system call: whatever was in the buffer is out by now */
    atomic {
        if :: late_armed -> armed = true; late_armed = false :: else fi;
        if :: gen == g -> asleep = true :: else -> goto disarm fi
    };
    !asleep;
disarm:
    atomic { armed = false; late_armed = false; g = 0 };
    goto again;
heard:
    skip
}

inline kick()
{
    gen = NEXT(gen);
    asleep = false
}

proctype supervisor()
{
    byte r;

end:
    do
    :: atomic {
           if
           :: dead[0] -> r = 0
           :: dead[1] -> r = 1
           fi;
           dead[r] = false
       };
#ifdef EARLYKICK
       kick();
#endif
       gone[r] = true;
#ifdef LOSTONLY
       if :: out[r] != ROUNDS -> kick() :: else fi;
#elif !defined(NOKICK) && !defined(EARLYKICK)
       kick();
#endif
       r = 0
    od
}

init
{
    atomic { run waker(0); run waker(1); run sleeper(); run supervisor() }
}
