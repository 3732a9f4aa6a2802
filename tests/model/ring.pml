// expect ok:    -DPUTS0=2 -DPUTS1=1
// expect ok:    -DPUTS0=1 -DPUTS1=1 -DKILLS=1
// expect ok:    -DPUTS0=2 -DPUTS1=1 -DKILLS=1 -DKILL_CONSUMER
// expect ok:    -DPUTS0=1 -DPUTS1=1 -DKILLS=2 -DREUSE -DKILL_PRODUCER
// expect ok:    -DPUTS0=3 -DPUTS1=1 -DCONSUMERS=1 -DKILLS=1 -DREUSE
// expect ok:    -DHELD -DPUTS0=2 -DPUTS1=0 -DCONSUMERS=4
// expect ok:    -DHELD -DPUTS0=2 -DPUTS1=0 -DCONSUMERS=4 -DRESTARTS=1
// expect long:  -DPUTS0=2 -DPUTS1=2
// expect long:  -DPUTS0=2 -DPUTS1=1 -DKILLS=1 -DKILL_PRODUCER
// expect long:  -DPUTS0=1 -DPUTS1=2 -DKILLS=1 -DKILL_PRODUCER
// expect long:  -DPUTS0=1 -DPUTS1=1 -DKILLS=2 -DREUSE -DKILL_CONSUMER
// expect long:  -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DRESTARTS=1
// expect long:  -DHELD -DPUTS0=2 -DPUTS1=1 -DCONSUMERS=4
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DNOOWNER_WRITING # a producer's claim does not say whose it is
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DNOOWNER_READING # a consumer's claim does not say whose it is
// expect error: -DPUTS0=2 -DPUTS1=1 -DFULLFIRST                 # FULL is stored before the message
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DHANDFIRST       # the message is in the hand before it is copied
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DFREEFIRST       # the slot is free before the message is in the hand
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DNOTOMB          # recovery leaves an unfinished put as it is
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DTOMBFREE        # recovery frees the position of an unfinished put
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DSKIPTOMB        # consumers do not pass a tomb
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DNOLOOKAGAIN     # nobody is told of a message that is handed back
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DEARLYAGAIN      # all are told before it is handed back
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DNORECHECK       # "empty" without a second look at `again`
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DREUSE -DKEEPHAND # recovery leaves the dead one's hand as it is
// expect error: -DPUTS0=1 -DPUTS1=1 -DKILLS=1 -DNOFENCE         # recovery does not wait until the victim's stores are over
// expect error: -DHELD -DPUTS0=2 -DPUTS1=0 -DCONSUMERS=4 -DAGAINFULL # a message that is handed back looks like any other
// expect error: -DHELD -DPUTS0=2 -DPUTS1=0 -DCONSUMERS=4 -DNOVERSION # `again` without a version
// expect error: -DHELD -DPUTS0=2 -DPUTS1=1 -DCONSUMERS=4 -DLAPJUMP # consumers step over two laps at once

/* The ring: owner-stamped slots, two producers, consumers, any of them killed before any step, and their supervisor.
 *
 * A step is one access to memory that others write, as in lib/shm/ring.c.  Hints are not modelled as words: whoever starts
 * to look begins at any position that a hint can have had, from the first to the next unclaimed one, so that it does not
 * matter how hints come to lag.  (The short cut of get() and put(), which try one slot before they look further, is among
 * these starts.)  A message is copied in the same step as the store that follows: until then its slot is touched by nobody
 * else.
 *
 * Checked: each message has one fate, and all have one in the end; messages are claimed in the order of their positions;
 * "empty" and "full" are true of one moment; nobody waits for ever; no slot is held by anyone at the end.  A process that
 * hears -EAGAIN waits until what made it so has changed: if that never comes, Spin reports an invalid end state.
 *
 * Left out: store buffers, since no step needs a store of its own to be seen before its next load; the wrap of positions,
 * which only grow here, and of the version of `again`.
 *
 * Flags: PUTS0, PUTS1 (messages of each producer), CONSUMERS, KILLS, KILL_PRODUCER or KILL_CONSUMER (only the first of them
 * is killed), HELD (two consumers were killed before the story begins, each with a message half read), REUSE (a dead one's
 * number is used again after its recovery), RESTARTS (recoveries cut short by a death and begun again), N (slots); all other
 * flags change a step of the protocol. */

#ifndef N
#define N 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef RESTARTS
#define RESTARTS 0
#endif
#ifndef PUTS0
#define PUTS0 1
#endif
#ifndef PUTS1
#define PUTS1 1
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#define MESSAGES (PUTS0 + PUTS1)

/* Owners 0 and 1 produce; 2 and those after it consume. */
#define OWNERS (2 + CONSUMERS)
#define IS_PRODUCER(w) ((w) < 2)
#define LAST(w) ((w) == 0 -> PUTS0 : MESSAGES)

/* A word is position * 16 + state. */
#define FREE 0
#define FULL 1
#define TOMB 2
#ifdef AGAINFULL
#define AGAIN FULL
#else
#define AGAIN 3
#endif
#ifdef NOOWNER_WRITING
#define WRITING(w) 6
#else
#define WRITING(w) (4 + (w))
#endif
#ifdef NOOWNER_READING
#define READING(w) 15
#else
#define READING(w) (8 + (w))
#endif
#define WORD(p, state) ((p) * 16 + (state))
#define POS(v) ((v) / 16)
#define STATE(v) ((v) % 16)
#define IS_WRITING(v) (STATE(v) >= 4 && STATE(v) < 8)
#define IS_READING(v) (STATE(v) >= 8)
#define NONE 15

/* The ring. */
byte word[N];
byte payload[N];
byte hand[OWNERS]; /* READING(p, w); 1 from when that slot is free, since then the value does not matter */
bool again_any;
byte again_position;
byte head, tail; /* how far the hints may be: the first positions that nobody has claimed */

/* The kernel: who lives, who is being killed, and whose pidfd is readable. */
byte kills = KILLS;
byte restarts = RESTARTS;
bool alive[OWNERS], gone[OWNERS];
#ifdef NOFENCE
bool doomed[OWNERS]; /* a kill was sent */
#endif
byte victim = NONE;

/* Observers; the protocol does not read them. */
byte next[2];         /* the message for which each producer claims a slot next */
byte writes[2];       /* the message of its last claim */
byte holds[OWNERS];   /* the message in its hand, or NONE */
byte open = MESSAGES; /* messages without a fate */
bool settled[MESSAGES];
bool recovering;
bool same_again[CONSUMERS];

/* For all who have loaded it, `again` is not what it was. */
inline again_changes()
{
    x = 0;
    do
    :: x < CONSUMERS -> same_again[x] = false; x++
    :: else -> x = 0; break
    od
}

inline settle(m)
{
    assert(m < MESSAGES && !settled[m]);
    settled[m] = true;
    open--
}

inline start(p, hint)
{
    p = 0;
    do
    :: p < hint -> p++
    :: break
    od
}

inline forward(p, far)
{
    if :: far > p + 1 -> p = far :: else -> p++ fi
}

#define KILLED victim == me -> victim = NONE; alive[me] = false; gone[me] = true

/* One looks at position t and finds there a message of the last lap: then all slots are taken by messages that nobody has
 * begun to read. */
inline see_put()
{
    v = word[t % N];
    if
    :: POS(v) < t && STATE(v) == FULL && AGAIN != FULL ->
        do
        :: x < N -> assert(STATE(word[x]) != FREE && !IS_READING(word[x])); x++
        :: else -> x = 0; break
        od
    :: else
    fi
}

proctype producer(byte me)
{
    byte t, v, x;

    {
        skip;
look:
        atomic {
            if :: next[me] == LAST(me) -> alive[me] = false; goto end :: else fi;
            start(t, tail);
            see_put()
        };
        do
        :: v == WORD(t, FREE) ->
            atomic {
                if
                :: word[t % N] == v ->
                    word[t % N] = WORD(t, WRITING(me));
                    writes[me] = next[me]; next[me]++;
                    if :: tail == t -> tail++ :: else fi;
                    break
                :: else -> see_put()
                fi
            }
        :: POS(v) == t && STATE(v) != FREE -> atomic { t++; see_put() }
        :: POS(v) > t -> atomic { forward(t, POS(v) + 1 - (STATE(v) == FREE -> N : 0)); see_put() }
        :: POS(v) < t && STATE(v) == TOMB ->
            atomic { if :: word[t % N] == v -> word[t % N] = WORD(t, FREE) :: else fi; see_put() }
        :: POS(v) < t && STATE(v) != TOMB -> /* full */
            atomic { word[t % N] != v; t = 0; v = 0; goto look }
        od;
#ifdef FULLFIRST
        word[t % N] = WORD(t, FULL);
        atomic { payload[t % N] = writes[me]; t = 0; v = 0 };
#else
        atomic { payload[t % N] = writes[me]; writes[me] = 0; word[t % N] = WORD(t, FULL); t = 0; v = 0 };
#endif
        goto look
    } unless { atomic { KILLED } };
end:
    skip
}

/* One looks at position h.  If one finds nothing there, that must be true of all slots; but for messages that a recovery,
 * which has not ended, is handing back. */
inline see_get()
{
    v = word[h % N];
    lie = false;
    if
    :: POS(v) < h || v == WORD(h, FREE) ->
        do
        :: x < N ->
            lie = lie || (STATE(word[x]) == FULL && AGAIN != FULL) || (STATE(word[x]) == AGAIN && !recovering);
            x++
        :: else -> x = 0; break
        od
    :: else
    fi
}

/* Is `again` still what it was when one loaded it?  It never becomes the same again, thanks to its version; so a bit that
 * everyone clears who changes it says the same as a comparison, and makes fewer states. */
#ifdef NOVERSION
#define SAME_AGAIN (again_any == any && again_position == position)
#else
#define SAME_AGAIN (same_again[me - 2])
#endif

proctype consumer(byte me)
{
    byte h, v, x, position;
    bool any, lie;

    {
        skip;
get:
        atomic {
            if :: hand[me] != 0 -> hand[me] = 0; settle(holds[me]); holds[me] = NONE :: else fi;
            if :: open == 0 -> alive[me] = false; goto end :: else fi
        };
look:
        atomic { any = again_any; position = again_position; same_again[me - 2] = true };
        atomic {
            if :: any -> h = position :: else -> start(h, head) fi;
#ifndef NOVERSION
            position = 0;
#endif
            see_get()
        };
        do
        :: v == WORD(h, FULL) || v == WORD(h, AGAIN) ->
            atomic {
                if
                :: word[h % N] == v ->
                    word[h % N] = WORD(h, READING(me));
                    if
                    :: STATE(v) == FULL && AGAIN != FULL -> assert(h >= head)
                    :: else
                    fi;
                    if :: head <= h -> head = h + 1 :: else fi;
                    break
                :: else -> see_get()
                fi
            }
#ifdef LAPJUMP
        :: POS(v) > h -> atomic { forward(h, POS(v) + 1 - N); see_get() }
#else
        :: POS(v) > h -> atomic { forward(h, POS(v) + 1 - 2 * N); see_get() }
#endif
        :: POS(v) == h && IS_READING(v) -> atomic { h++; see_get() }
#ifndef SKIPTOMB
        :: POS(v) == h && STATE(v) == TOMB ->
            atomic {
                if :: word[h % N] == v -> word[h % N] = WORD(h + N, FREE); if :: head <= h -> head = h + 1 :: else fi :: else fi;
                see_get()
            }
#endif
        :: else -> goto nothing
        od;
        if
        :: any -> /* looked_again() */
            atomic {
                if
                :: SAME_AGAIN && STATE(v) == AGAIN && AGAIN != FULL -> again_position = h + 1; again_changes()
                :: SAME_AGAIN && (STATE(v) != AGAIN || AGAIN == FULL) -> again_any = false; again_changes()
                :: else
                fi;
                any = false
            }
        :: else
        fi;
#ifdef HANDFIRST
        hand[me] = WORD(h, READING(me));
        holds[me] = payload[h % N];
        word[h % N] = WORD(h + N, FREE);
#else
#ifdef FREEFIRST
        v = payload[h % N];
        word[h % N] = WORD(h + N, FREE);
        atomic { hand[me] = WORD(h, READING(me)); holds[me] = v };
#else
        atomic { hand[me] = WORD(h, READING(me)); holds[me] = payload[h % N] };
        atomic { word[h % N] = WORD(h + N, FREE); payload[h % N] = 0; hand[me] = 1 };
#endif
#endif
        goto out;
nothing: /* found_nothing() */
        atomic {
            if
            :: any ->
                if
                :: SAME_AGAIN -> again_any = false; any = false; again_changes(); same_again[me - 2] = true
                :: else -> goto look
                fi
#ifndef NORECHECK
            :: !any && !SAME_AGAIN -> goto look
#endif
            :: else
            fi;
            assert(!lie)
        };
        (word[h % N] != v || !SAME_AGAIN || open == 0);
out:
        atomic { h = 0; v = 0; any = false; position = 0; lie = false; same_again[me - 2] = false; goto get }
    } unless { atomic { KILLED; same_again[me - 2] = false } };
end:
    skip
}

inline cut_short()
{
#if RESTARTS > 0
    if :: restarts > 0 -> restarts--; goto begin :: true fi
#else
    skip
#endif
}

#ifdef NOFENCE
#define MAY_RECOVER(w) (gone[w] || doomed[w])
#else
#define MAY_RECOVER(w) gone[w]
#endif

proctype supervisor()
{
    byte w, i, v, x, first;

wait:
    atomic {
        if
        :: MAY_RECOVER(0) -> w = 0
        :: MAY_RECOVER(1) -> w = 1
        :: MAY_RECOVER(2) -> w = 2
#if CONSUMERS > 1
        :: MAY_RECOVER(3) -> w = 3
#endif
        :: open == 0 && victim == NONE -> goto end
        fi;
        recovering = true
    };
begin:
    atomic { i = 0; first = NONE };
#ifdef EARLYAGAIN
    atomic { again_any = true; again_position = 0; again_changes() };
#endif
    do
    :: i < N ->
        atomic {
            v = word[i];
            if
            :: IS_PRODUCER(w) && STATE(v) == 4 + w ->
#ifdef TOMBFREE
                word[i] = WORD(POS(v), FREE);
#else
#ifndef NOTOMB
                word[i] = WORD(POS(v), TOMB);
#endif
#endif
                settle(writes[w])
            :: !IS_PRODUCER(w) && STATE(v) == 8 + w && v == hand[w] -> word[i] = WORD(POS(v) + N, FREE)
            :: !IS_PRODUCER(w) && STATE(v) == 8 + w && v != hand[w] -> word[i] = WORD(POS(v), AGAIN)
            :: else
            fi;
            v = 0
        };
        cut_short();
        atomic {
            v = word[i];
            if :: STATE(v) == AGAIN && POS(v) < first -> first = POS(v) :: else fi;
            v = 0;
            i++
        };
        cut_short()
    :: else -> break
    od;
#ifndef NOLOOKAGAIN
#ifndef EARLYAGAIN
    if
    :: first != NONE ->
        atomic { again_any = true; again_position = first; again_changes() };
        cut_short()
    :: else
    fi;
#endif
#endif
    atomic {
        if :: hand[w] != 0 -> settle(holds[w]) :: else fi;
#ifndef KEEPHAND
        hand[w] = 0; holds[w] = NONE;
#endif
        first = 0; i = 0;
        gone[w] = false; recovering = false;
        /* The number is used again, or what its owner would have put never is. */
#ifdef REUSE
        alive[w] = true;
        if :: IS_PRODUCER(w) -> run producer(w) :: else -> run consumer(w) fi;
#else
        do
        :: IS_PRODUCER(w) && next[w] < LAST(w) -> settle(next[w]); next[w]++
        :: else -> break
        od;
#endif
        w = 0
    };
    goto wait;
end: /* nobody holds a slot */
    do
    :: i < N -> assert(STATE(word[i]) == FREE || STATE(word[i]) == TOMB); i++
    :: else -> break
    od
}

#ifdef NOFENCE
#define KILL(w) atomic { kills > 0 && alive[w] && victim == NONE -> kills--; doomed[w] = true }; \
                atomic { doomed[w] = false; if :: alive[w] -> victim = w :: else fi }
#else
#define KILL(w) atomic { kills > 0 && alive[w] && victim == NONE -> kills--; victim = w }
#endif

proctype killer()
{
end:
    do
#ifndef KILL_CONSUMER
    :: KILL(0)
#ifndef KILL_PRODUCER
    :: KILL(1)
#endif
#endif
#ifndef KILL_PRODUCER
    :: KILL(2)
#if CONSUMERS > 1
#ifndef KILL_CONSUMER
    :: KILL(3)
#endif
#endif
#endif
    od
}

#ifdef HELD
#define WAS_KILLED(w) ((w) == 2 || (w) == 3)
#else
#define WAS_KILLED(w) false
#endif

init
{
    byte i;

    atomic {
        do
        :: i < N -> word[i] = WORD(i, FREE); i++
        :: else -> break
        od;
        next[1] = PUTS0;
#ifdef HELD
        next[0] = 2; head = 2; tail = 2;
#endif
        i = 0;
        do
        :: i < OWNERS ->
            holds[i] = NONE;
            alive[i] = !WAS_KILLED(i);
            gone[i] = WAS_KILLED(i);
            if
            :: WAS_KILLED(i) -> word[i - 2] = WORD(i - 2, READING(i)); payload[i - 2] = i - 2
            :: !WAS_KILLED(i) && IS_PRODUCER(i) ->
                if :: next[i] < LAST(i) -> run producer(i) :: else -> alive[i] = false fi
            :: !WAS_KILLED(i) && !IS_PRODUCER(i) -> run consumer(i)
            fi;
            i++
        :: else -> break
        od;
        i = 0;
        run supervisor();
        run killer()
    }
}
