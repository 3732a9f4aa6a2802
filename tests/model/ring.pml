// expect ok:    -DPUTS0=1 -DPUTS1=1 -DKILLS=1

/* The ring: owner-stamped slots, two producers, two consumers, any of them killed before any step, and their supervisor.
 *
 * A step is one access to memory that others write, as in lib/shm/ring.c, hints included.  Checked: each message has one fate,
 * and all have one in the end; messages are claimed in the order of their positions; "empty" and "full" are true of one
 * moment; nobody waits for ever; no slot is held by anyone at the end.  A process that hears -EAGAIN waits until what made it
 * so has changed: if that never comes, Spin reports an invalid end state.
 *
 * Left out: store buffers, since no step needs a store of its own to be seen before its next load; the wrap of positions and
 * of versions, which only grow here.
 *
 * Flags: PUTS0, PUTS1 (messages of each producer), CONSUMERS, KILLS, KILL_PRODUCERS or KILL_CONSUMERS (only those die), REUSE
 * (a dead one's number is used again after its recovery), RESTARTS (recoveries cut short by a death and begun again), N
 * (slots); all other flags change a step of the protocol. */

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
#define WRITING(w) 4
#else
#define WRITING(w) (4 + (w))
#endif
#ifdef NOOWNER_READING
#define READING(w) 8
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
byte head, tail;
byte hand[OWNERS];
bool again_any;
byte again_version, again_position;

/* The kernel: who lives, who was sent a kill, who is about to feel it, who is dead. */
byte kills = KILLS;
byte restarts = RESTARTS;
bool alive[OWNERS], doomed[OWNERS], gone[OWNERS];
byte victim = NONE;

/* Observers; the protocol does not read them. */
byte next[2];        /* the message for which each producer claims a slot next */
byte writes[2];      /* the message of its last claim */
byte holds[OWNERS];  /* the message in its hand, or NONE */
byte frontier;       /* all positions before it were claimed by consumers, or are tombs */
byte open = MESSAGES; /* messages without a fate */
bool settled[MESSAGES];
bool recovering;

inline settle(m)
{
    assert(m < MESSAGES && !settled[m]);
    settled[m] = true;
    open--
}

inline forward(p, far)
{
    if :: far > p + 1 -> p = far :: else -> p = p + 1 fi
}

/* A hint moves only forward, as far as one can see: it may have moved between the two steps. */
inline advance(hint, p)
{
    x = hint;
    if :: x < p -> hint = p :: else fi;
    x = 0
}

inline bury(v)
{
    atomic { if :: word[POS(v) % N] == v -> word[POS(v) % N] = WORD(POS(v) + N, FREE) :: else fi }
}

inline die(me)
{
    atomic { victim = NONE; alive[me] = false; gone[me] = true }
}

/* All slots are taken by what nobody has begun to read. */
inline check_full()
{
    d_step {
        x = 0;
        do
        :: x < N -> assert(STATE(word[x]) != FREE && !IS_READING(word[x])); x++
        :: else -> x = 0; break
        od
    }
}

proctype producer(byte me)
{
    byte t, v, x;

    {
        do
        :: next[me] == LAST(me) -> alive[me] = false; break
        :: else ->
look:       t = tail;
            do
            :: atomic {
                   v = word[t % N];
                   if
                   :: v == WORD(t, FREE)
                   :: POS(v) == t && STATE(v) != FREE -> t++
                   :: POS(v) > t && STATE(v) == FREE -> forward(t, POS(v) + 1 - N)
                   :: POS(v) > t && STATE(v) != FREE -> forward(t, POS(v) + 1)
                   :: POS(v) < t && STATE(v) == TOMB
                   :: POS(v) < t && STATE(v) != TOMB ->
#ifndef AGAINFULL
                       if :: STATE(v) == FULL -> check_full() :: else fi
#else
                       skip
#endif
                   fi
               };
               if
               :: v == WORD(t, FREE) ->
                   atomic {
                       if
                       :: word[t % N] == v -> word[t % N] = WORD(t, WRITING(me)); writes[me] = next[me]; next[me]++; break
                       :: else
                       fi
                   }
               :: POS(v) < t && STATE(v) == TOMB -> bury(v)
               :: v != WORD(t, FREE) && POS(v) < t && STATE(v) != TOMB -> word[t % N] != v; goto look
               :: else
               fi
            od;
#ifdef FULLFIRST
            word[t % N] = WORD(t, FULL);
            payload[t % N] = writes[me];
#else
            payload[t % N] = writes[me];
            word[t % N] = WORD(t, FULL);
#endif
            advance(tail, t + 1);
            t = 0; v = 0
        od
    } unless { victim == me; die(me) }
}

/* A later message was put by someone while this claims that there is none. */
inline check_empty()
{
    d_step {
        x = 0;
        do
        :: x < N ->
            if
            :: STATE(word[x]) == FULL -> lie = true
            :: STATE(word[x]) == AGAIN && !recovering -> lie = true
            :: else
            fi;
            x++
        :: else -> x = 0; break
        od
    }
}

#define SAME_AGAIN (again_any == any && again_version == version && again_position == position)

proctype consumer(byte me)
{
    byte h, v, x, version, position, m;
    bool any, lie, claimed;

    {
        do
        :: atomic {
               if :: hand[me] != 0 -> hand[me] = 0; settle(holds[me]); holds[me] = NONE :: else fi;
               if :: open == 0 -> alive[me] = false; break :: else fi
           };
           h = head;
           atomic { any = again_any; version = again_version; position = again_position };
           if
           :: !any -> /* the hint is right: most of the time */
               v = word[h % N];
               if :: v == WORD(h, FULL) -> goto claim :: else fi
           :: else
           fi;
look:
           atomic { any = again_any; version = again_version; position = again_position; h = position };
           if :: !any -> h = head :: else fi;
see:
           atomic {
               v = word[h % N];
               lie = false;
               if
               :: v == WORD(h, FULL) || v == WORD(h, AGAIN) -> goto claim
               :: POS(v) > h ->
#ifdef LAPJUMP
                   forward(h, POS(v) + 1 - N);
#else
                   forward(h, POS(v) + 1 - 2 * N);
#endif
                   goto see
               :: POS(v) == h && IS_READING(v) -> h++; goto see
               :: POS(v) == h && STATE(v) == TOMB
               :: POS(v) == h && IS_WRITING(v)
               :: POS(v) < h || v == WORD(h, FREE) -> check_empty()
               fi
           };
#ifndef SKIPTOMB
           if :: POS(v) == h && STATE(v) == TOMB -> bury(v); goto see :: else fi;
#endif
           /* There is nothing. */
           atomic {
               if
               :: any ->
                   if :: SAME_AGAIN -> again_any = false; any = false :: else -> goto look fi
#ifndef NORECHECK
               :: !any && !SAME_AGAIN -> goto look
#endif
               :: else
               fi;
               assert(!lie)
           };
           lie = false;
           (word[h % N] != v || !SAME_AGAIN || open == 0);
           goto out;
claim:
           atomic {
               claimed = word[h % N] == v;
               if
               :: claimed ->
                   word[h % N] = WORD(h, READING(me));
#ifndef AGAINFULL
                   if :: STATE(v) == FULL -> assert(h >= frontier); frontier = h + 1 :: else fi
#endif
               :: else -> claimed = false; goto see
               fi
           };
           claimed = false;
           if
           :: any -> /* looked_again() */
               atomic {
                   if
                   :: SAME_AGAIN ->
                       if
                       :: STATE(v) == AGAIN && AGAIN != FULL -> again_position = h + 1
                       :: else -> again_any = false
                       fi
                   :: else
                   fi
               }
           :: else
           fi;
#ifdef HANDFIRST
           hand[me] = WORD(h, READING(me));
           m = payload[h % N];
           holds[me] = m;
#else
           m = payload[h % N];
#endif
#ifdef FREEFIRST
           word[h % N] = WORD(h + N, FREE);
#endif
#ifndef HANDFIRST
#ifndef NOHAND
           atomic { hand[me] = WORD(h, READING(me)); holds[me] = m };
#endif
#endif
#ifndef FREEFIRST
           word[h % N] = WORD(h + N, FREE);
#endif
#ifdef NOHAND
           atomic { settle(m) };
#endif
           advance(head, h + 1);
out:
           atomic { h = 0; v = 0; m = 0; any = false; version = 0; position = 0 }
        od
    } unless { victim == me; die(me) }
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
#define MAY_RECOVER(w) doomed[w]
#else
#define MAY_RECOVER(w) gone[w]
#endif

proctype supervisor()
{
    byte w, i, v, first;

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
    again_version++;
    atomic { again_any = true; again_position = 0 };
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
            :: !IS_PRODUCER(w) && STATE(v) == 8 + w && v != hand[w] ->
                word[i] = WORD(POS(v), AGAIN);
#ifdef HEADBACK
                head = POS(v)
#endif
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
#ifndef EARLYAGAIN
#ifndef HEADBACK
    if
    :: first != NONE ->
        atomic {
#ifndef NOVERSION
            again_version++;
#endif
            again_any = true; again_position = first
        };
        cut_short()
    :: else
    fi;
#endif
#endif
    atomic {
        if :: hand[w] != 0 -> assert(holds[w] != NONE); settle(holds[w]) :: else fi;
#ifndef KEEPHAND
        hand[w] = 0; holds[w] = NONE;
#endif
        first = 0; i = 0;
        gone[w] = false; doomed[w] = false; recovering = false
    };
    /* Its number is used again, or what it would have put never is. */
    atomic {
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

inline doom(w)
{
    atomic { kills > 0 && alive[w] && !doomed[w] && victim == NONE -> kills--; doomed[w] = true };
    atomic { if :: alive[w] -> victim = w :: else -> doomed[w] = false fi }
}

proctype killer()
{
end:
    do
#ifndef KILL_CONSUMERS
    :: doom(0)
    :: doom(1)
#endif
#ifndef KILL_PRODUCERS
    :: doom(2)
#if CONSUMERS > 1
    :: doom(3)
#endif
#endif
    od
}

init
{
    byte i;

    atomic {
        do
        :: i < N -> word[i] = WORD(i, FREE); i++
        :: else -> break
        od;
        next[1] = PUTS0;
        i = 0;
        do
        :: i < OWNERS ->
            alive[i] = true; holds[i] = NONE;
            if :: IS_PRODUCER(i) -> run producer(i) :: else -> run consumer(i) fi;
            i++
        :: else -> break
        od;
        i = 0;
        run supervisor();
        run killer()
    }
}
