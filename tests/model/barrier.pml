// expect ok:    -DKILLS=1
// expect ok:    -DRESETS=2
// expect ok:    -DRESETS=1 -DKILLS=1
// expect error: -DRESETS=1 -DKILLS=1 -DNOCYCLE # the claimer believes an entry free that waits in a later cycle than it knows of
// expect error: -DKILLS=1 -DNOVERIFY # the claimer does not look whether the old owner has counted itself meanwhile
// expect error: -DKILLS=1 -DNOCHECK  # one that has counted itself does not look whether the entry is its own still
// expect error: -DKILLS=1 -DLATESEAT # a party arrives, and is entered in the waiter table afterwards
// expect error: -DRESETS=1 -DLATENOTE # the mark is taken away, and the cycle noted afterwards
// expect error: -DRESETS=1 -DNONOTE   # the cycle is not noted at all

/* A barrier: does every party of a cycle hear how it ended, and is the death of one that has arrived always found?
 *
 * Two parties, of processes 0 and 1, come ROUNDS times; each owns an entry of the waiter table from an earlier cycle.  A third process
 * claims one of these entries, counts itself and leaves again.  With KILLS process 0 may be killed before any step.  RESETS
 * resetters abort the barrier and reset it.  With KILLS there are three parties, so that the two wait for each other's death.
 * When nothing else can happen, somebody aborts.  README.md says more. */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef RESETS
#define RESETS 0
#endif
#if KILLS > 0
#define PARTIES 3
#define ROUNDS 1
#else
#define PARTIES 2
#define ROUNDS 2
#endif
#define CYCLES 12 /* more than can end */
#define ENTRIES 2

/* The word. */
byte cycle, arrived;
bool broken;

bool noted[CYCLES];

/* The waiter table. */
byte owner[ENTRIES];
bool claiming[ENTRIES];
byte in_cycle[ENTRIES], waiting[ENTRIES];

/* What the model knows. */
byte ended[CYCLES]; /* 1: all went on; 2: it broke */
bool dead[3], is_counted[2]; /* the process has arrived in this cycle */
byte kills = KILLS;

#define WAITS(e, c) (waiting[e] > 0 && in_cycle[e] == (c))

/* Process 0 dies between two steps. */
#define STEP(x) atomic { if :: me == 0 && kills > 0 -> kills--; dead[0] = true; goto killed :: true fi; x }

inline end_cycle(outcome) {
    assert(ended[cycle] == 0);
    ended[cycle] = outcome;
    cycle++;
    arrived = 0;
    broken = (outcome == 2);
    is_counted[0] = false;
    is_counted[1] = false;
}

/* One compare-and-swap loop: in the end it is done, or was done by another. */
#define BREAK(c) if :: cycle == (c) && !broken -> end_cycle(2) :: else fi

/* After an entry was read: it is free only if the cycle is not over. */
#ifdef NOCYCLE
#define STILL(c)
#else
#define STILL(c) STEP(if :: cycle != (c) -> goto again :: else fi);
#endif

/* Step by step, as count() does: more is 1 or -1. */
#define COUNT(e, c, more) \
    if :: in_cycle[e] == (c) -> waiting[e] = waiting[e] + (more) \
       :: in_cycle[e] != (c) && cycle == (c) -> in_cycle[e] = (c); waiting[e] = 1 \
       :: else -> goto again fi

proctype party(byte me)
{
    byte rounds, mine, e, heard, was, seen_cycle, seen_count;
    bool is_seated, mark;

again:
    if :: rounds == ROUNDS -> goto finished :: else fi;
    STEP(mine = cycle; mark = broken; is_seated = false);
    if :: mark -> rounds++; goto again :: else fi;
#ifdef LATESEAT
    goto come;
#endif
find:
    STEP(if
         :: owner[0] == me && !claiming[0] -> e = 0; goto seat
         :: owner[1] == me && !claiming[1] -> e = 1; goto seat
         :: else
         fi);
    /* It has lost its entry: it claims the other's, if that does not wait. */
    STEP(if
         :: !WAITS(0, mine) && !claiming[0] -> e = 0; was = owner[0]; seen_cycle = in_cycle[0]; seen_count = waiting[0]
         :: !WAITS(1, mine) && !claiming[1] -> e = 1; was = owner[1]; seen_cycle = in_cycle[1]; seen_count = waiting[1]
         :: (WAITS(0, mine) || claiming[0]) && (WAITS(1, mine) || claiming[1]) -> rounds++; goto again /* no room */
         fi);
    STILL(mine)
    STEP(if :: owner[e] == was && !claiming[e] -> owner[e] = me; claiming[e] = true :: else -> goto find fi);
    STEP(if
#ifndef NOVERIFY
         :: in_cycle[e] != seen_cycle || waiting[e] != seen_count -> owner[e] = was; claiming[e] = false; goto find
#endif
         :: else -> claiming[e] = false
         fi);
seat:
    STEP(COUNT(e, mine, 1));
#ifndef NOCHECK
    STEP(if
         :: owner[e] == me && !claiming[e] -> is_seated = true
         :: else -> skip
         fi);
    if
    :: !is_seated -> STEP(COUNT(e, mine, -1)); goto find
    :: else
    fi;
#endif
come:
    STEP(if
         :: cycle != mine || broken -> goto again
         :: else ->
            arrived++;
            if
            :: arrived == PARTIES -> end_cycle(1); rounds++; goto again
            :: else -> is_counted[me] = true
            fi
         fi);
#ifdef LATESEAT
    STEP(e = me; COUNT(e, mine, 1));
#endif
asleep:
    if
    :: atomic { cycle != mine -> skip }
    :: atomic { me != 0 && cycle == mine && ((WAITS(0, mine) && dead[owner[0]]) || (WAITS(1, mine) && dead[owner[1]])) ->
                BREAK(mine) }
    :: atomic { me == 0 && kills > 0 -> kills--; dead[0] = true; goto killed }
    fi;
    /* outcome(): the word, then the note. */
    STEP(heard = ((broken && cycle == mine + 1) -> 2 : 0));
    if
    :: heard == 0 -> STEP(heard = (noted[mine] -> 2 : 1))
    :: else
    fi;
    assert(heard == ended[mine]);
    rounds++;
    goto again;
killed:
finished:
    skip
}

/* Process 2 claims an entry, counts itself, finds that it would have to wait, and leaves. */
proctype claimer()
{
    byte mine, e, was, seen_cycle, seen_count;
    byte me = 2;

    STEP(mine = cycle);
    if :: e = 0 :: e = 1 fi;
    STEP(was = owner[e]; seen_cycle = in_cycle[e]; seen_count = waiting[e];
         if :: WAITS(e, mine) || claiming[e] -> goto again :: else fi);
    STILL(mine)
    STEP(if :: owner[e] == was && !claiming[e] -> owner[e] = me; claiming[e] = true :: else -> goto again fi);
    STEP(if
#ifndef NOVERIFY
         :: in_cycle[e] != seen_cycle || waiting[e] != seen_count -> owner[e] = was; claiming[e] = false; goto again
#endif
         :: else -> claiming[e] = false
         fi);
    STEP(COUNT(e, mine, 1));
    STEP(COUNT(e, mine, -1));
again:
killed:
    skip
}

/* abort(), then reset(): mend() is four steps. */
proctype resetter()
{
    byte me = 3, seen;

    STEP(if :: !broken -> BREAK(cycle) :: else fi);
mend:
    STEP(if :: broken -> seen = cycle :: else -> goto killed fi);
#ifdef LATENOTE
    STEP(if :: broken && cycle == seen -> broken = false :: else -> goto mend fi);
    STEP(noted[seen - 1] = true);
#else
#ifndef NONOTE
    STEP(if :: broken && cycle == seen -> skip :: else -> goto mend fi);
    STEP(noted[seen - 1] = true); /* by compare-and-swap of what was there before the look: nobody else can have changed it but so */
#endif
    STEP(if :: broken && cycle == seen -> broken = false :: else -> goto mend fi);
#endif
killed:
    skip
}

/* The death of a party that has arrived is found by another that waits, without an abort. */
active proctype somebody()
{
end:
    do
    :: timeout ->
       assert(!(dead[0] && is_counted[0] && is_counted[1])); /* while another waits */
       atomic { if :: _nr_pr > 1 && !broken -> BREAK(cycle) :: else -> break fi }
    od
}

init
{
    atomic {
        owner[0] = 0;
        owner[1] = 1;
        in_cycle[0] = CYCLES;
        in_cycle[1] = CYCLES;
        run party(0);
        run party(1);
#if KILLS > 0
        run claimer();
#endif
#if RESETS > 0
        run resetter();
#endif
#if RESETS > 1
        run resetter()
#endif
    }
}
