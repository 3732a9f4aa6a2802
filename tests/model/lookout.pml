// expect ok:    -DTASKS=2
// expect ok:    -DTASKS=3 -DLONG
// expect ok:    -DTASKS=2 -DLONG -DKILLS=1 -DKICK
// expect long:  -DTASKS=3 -DNOBUFFER
// expect long:  -DTASKS=3 -DLONG -DNOTHIEF             # who was called, or had the post, hands on already
// expect error: -DTASKS=2 -DLONG -DNOHANDON            # who was called to help takes a task of its own, and tells nobody
// expect error: -DTASKS=2 -DLONG -DNOFENCE             # no membarrier when the post is left
// expect error: -DTASKS=2 -DLONG -DKILLS=1             # a death wakes no worker
// expect error: -DTASKS=2 -DLONG -DKILLS=1 -DKICK -DKEEPPOST # the supervisor leaves the post to the dead

/* The lookout: does a task wait for ever, while somebody sleeps for good and nobody does anything more?
 *
 * Three workers, and a host that submits TASKS tasks to any lanes and is not heard of again.  A task ends, or never does.
 * With LONG worker 0 is at such a task from the beginning.  With NOBUFFER what the host stores is visible at once.  With
 * KILLS worker 1 may be killed before any of its steps; with KICK its burial wakes everybody.  The other flags leave a step
 * out.  README.md says more. */

#define WORKERS 3
#ifndef KILLS
#define KILLS 0
#endif
#define BIT(w) (1 << (w))

/* The segment. */
byte idle; /* a bit a worker */
bool away[WORKERS];
byte post;
bool called[WORKERS]; /* since it parked `calls` has grown */
bool taken[TASKS];
byte lane[TASKS + 1]; /* by task; the last is what worker 0 is at with LONG */

/* The host's store buffer: what it has sent and is not visible.  The order stays. */
byte sent, visible;

/* The parkers and the kernel. */
bool has_parked[WORKERS]; /* it has a copy of its generation */
bool woken[WORKERS];      /* the generation is another one */
bool asleep[WORKERS];     /* until it is woken */
bool dead[WORKERS];

/* The host's mirror, by lane: what is outstanding if all is collected that can be, and if nothing is. */
byte unfinished[WORKERS], submitted[WORKERS];

byte kills = KILLS;

#ifdef NOBUFFER
#define SEND visible = sent
#else
#define SEND skip
#endif

inline drain() { visible = sent }

#define WAITS(t) (t < visible && !taken[t])
#if TASKS == 3
#define WAITING (WAITS(0) || WAITS(1) || WAITS(2))
#define FIRST(t) (t == 0 || ((!WAITS(0) || lane[0] != lane[t]) && (t == 1 || !WAITS(1) || lane[1] != lane[t])))
#define FOR_EACH(do_with) do_with(0) do_with(1) do_with(2)
#else
#define WAITING (WAITS(0) || WAITS(1))
#define FIRST(t) (t == 0 || !WAITS(0) || lane[0] != lane[t])
#define FOR_EACH(do_with) do_with(0) do_with(1)
#endif
#define WAITS_IN(t, l) (WAITS(t) && lane[t] == (l))
#if TASKS == 3
#define WAITING_IN(l) (WAITS_IN(0, l) || WAITS_IN(1, l) || WAITS_IN(2, l))
#else
#define WAITING_IN(l) (WAITS_IN(0, l) || WAITS_IN(1, l))
#endif

#define OWN(x) :: WAITS_IN(x, w) && FIRST(x) -> t = x; taken[x] = true; holds = true; goto claimed
#define OTHER(x) :: !WAITING_IN(w) && WAITS(x) && FIRST(x) -> t = x; goto steal

#define WAKE(w) if :: has_parked[w] -> woken[w] = true :: else fi
#if KILLS > 0
#define AND_WAKE break /* a step of its own, before which it may die */
#else
#define AND_WAKE WAKE(i); i = 0; goto running
#endif
#define CALL(w) called[w] = has_parked[w]
#define CALL_ALL CALL(0); CALL(1); CALL(2)
/* The number of any bit of n. */
#define ANY(n, i) if :: n & 1 -> i = 0 :: n & 2 -> i = 1 :: n & 4 -> i = 2 fi

#define VICTIM 1
#if KILLS > 0
#define STEP(x) atomic { if :: w == VICTIM && kills > 0 -> kills--; goto killed :: true fi; x }
#define MAY_DIE :: atomic { w == VICTIM && kills > 0 -> kills--; goto killed }
#else
#define STEP(x) atomic { x }
#define MAY_DIE
#endif

proctype worker(byte w)
{
    byte t, i, snapshot;
    bool hands_on, is_lookout, holds;

#ifdef LONG
    if :: w == 0 -> t = TASKS; holds = true; goto running :: else fi;
#endif
begin:
    STEP(away[w] = false);
serve:
    STEP(if
         FOR_EACH(OWN)
         FOR_EACH(OTHER) /* or not, if whoever it waits behind has got on */
         :: !WAITING_IN(w) ->
            idle = idle | BIT(w);
            drain();
            if
            :: WAITING_IN(w) -> idle = idle & ~BIT(w); goto serve
            :: !WAITING -> has_parked[w] = true; asleep[w] = true; goto end_asleep
            :: !WAITING_IN(w) -> has_parked[w] = true /* something waits, or it has seen somebody get on */
            fi
         fi);
    STEP(if
         :: post && post != w + 1 -> asleep[w] = true; goto end_asleep
         :: else -> post = w + 1; is_lookout = true
         fi);
    goto unpark; /* whenever it likes: woken, with something found, or for nobody gets on */
end_asleep: /* for good */
    if
    :: atomic { woken[w] -> asleep[w] = false }
    MAY_DIE
    fi;
unpark:
    STEP(
        idle = idle & ~BIT(w); has_parked[w] = false; woken[w] = false;
#ifndef NOHANDON
        hands_on = called[w] || is_lookout || hands_on;
#endif
        called[w] = false;
        if :: is_lookout :: else -> goto serve fi);
    STEP(
        is_lookout = false;
        post = 0;
#ifndef NOFENCE
        drain();
#endif
        goto serve);

steal:
    STEP(away[w] = true; drain());
    STEP(
#ifndef NOTHIEF
        hands_on = true;
#endif
        if :: taken[t] -> t = 0; away[w] = false; goto serve :: else -> taken[t] = true; holds = true fi);

claimed:
    if
    :: hands_on ->
       STEP(hands_on = false;
            if :: post || !WAITING -> goto running :: else -> CALL_ALL; snapshot = idle fi);
       do
       :: STEP(if
               :: !snapshot -> goto running
               :: else -> ANY(snapshot, i); snapshot = snapshot & ~BIT(i);
                          if :: idle & BIT(i) -> idle = idle & ~BIT(i); snapshot = 0; AND_WAKE :: else -> i = 0 fi
               fi)
       od;
#if KILLS > 0
       STEP(WAKE(i); i = 0)
#endif
    :: else
    fi;
running:
    STEP(if
         :: t < TASKS -> unfinished[lane[t]]--; t = 0; holds = false; away[w] = false; goto serve
         :: true -> t = t * (KILLS > 0); holds = holds && KILLS > 0
         fi);
end_endless:
    if
    :: false -> skip
    MAY_DIE
    fi;

killed:
    atomic {
        if :: holds -> unfinished[lane[t]]-- :: else fi;
        asleep[w] = false; has_parked[w] = false; woken[w] = false; called[w] = false;
        t = 0; i = 0; snapshot = 0; holds = false; hands_on = false; is_lookout = false;
        dead[w] = true
    };
end_dead:
    atomic { !dead[w] -> skip };
    goto begin
}

#if KILLS > 0
/* The burial of the victim, and its successor. */
proctype supervisor()
{
    byte w;

end:
    do
    :: atomic { dead[VICTIM] -> w = VICTIM };
       atomic { away[w] = true; drain() };
       idle = idle & ~BIT(w);
#ifndef KEEPPOST
       atomic { if :: post == w + 1 -> post = 0 :: else fi };
#endif
#ifdef KICK
       atomic { WAKE(0); WAKE(1); WAKE(2) };
#endif
       atomic { dead[w] = false; w = 0 }
    od
}

#endif

proctype buffer()
{
end:
    do
    :: atomic { visible < sent -> visible++ }
    od
}

proctype host()
{
    byte l, i, snapshot;

again:
    atomic {
        if :: sent == TASKS -> l = 0; goto over :: else fi;
        /* Workers are alike, but for the victim: of the lanes where nothing has been, the first. */
        if :: l = 0 :: submitted[0] -> l = 1 :: submitted[1] || KILLS > 0 -> l = 2 fi;
        lane[sent] = l; unfinished[l]++; submitted[l]++; sent++; SEND
    };
    if :: idle == 0 -> goto again :: else fi;
    atomic { if :: idle & BIT(l) -> drain(); idle = idle & ~BIT(l); WAKE(l); goto again :: else fi };
    if
    :: unfinished[l] <= 1 && !away[l] -> goto again
    :: submitted[l] > 1 || away[l]
    fi;
    if
    :: post -> goto again
    :: true /* nobody has it, or the lane's tasks are thought to be long */
    fi;
    atomic { drain(); CALL_ALL; snapshot = idle };
    do
    :: atomic {
           if
           :: !snapshot -> goto again
           :: else -> ANY(snapshot, i); snapshot = snapshot & ~BIT(i)
           fi;
           if :: idle & BIT(i) -> idle = idle & ~BIT(i); snapshot = 0; WAKE(i); i = 0; goto again :: else -> i = 0 fi
       }
    od;
over:
#if KILLS > 0
    kills = 0; /* there need not be a death */
#endif
    atomic {
        timeout -> assert(visible == TASKS && (!WAITING || !(asleep[0] || asleep[1] || asleep[2])))
    }
}

init
{
#ifdef LONG
    unfinished[0] = 1;
    submitted[0] = 1;
#endif
    atomic { run worker(0); run worker(1); run worker(2); run buffer(); run host() };
#if KILLS > 0
    run supervisor()
#endif
}
